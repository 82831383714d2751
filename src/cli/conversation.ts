/**
 * Keeps the last conversation for `chat -c`, as text in one small file of this user, in the folder that the XDG base directory
 * specification names for such state. Only the command line reads and writes that file.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { UsageError } from './exit-codes.ts';
import type { Host } from './host.ts';

const schema = z.object({
  config: z.string(),
  variables: z.record(z.string(), z.string()),
  messages: z.array(z.object({ role: z.enum(['user', 'assistant']), content: z.string() })),
});
export type Conversation = z.infer<typeof schema>;

/** About what the largest models can read. A longer conversation is not kept. */
const conversationBytesMax = 8 * 1024 * 1024;

/** @throws UsageError if there is no conversation to continue. */
export async function lastConversation(host: Host): Promise<Conversation> {
  const path = pathOf(host);
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new UsageError(`there is no conversation to continue in ${path}`, { cause });
  }
}

/** Replaces the kept conversation. Where that fails a note says so and the command succeeds, since the answer was printed. */
export async function keepConversation(host: Host, conversation: Conversation): Promise<void> {
  const path = pathOf(host);
  const text = JSON.stringify(conversation);
  try {
    if (Buffer.byteLength(text) > conversationBytesMax) {
      // Else the next `chat -c` would continue the conversation before this one.
      await rm(path, { force: true });
      host.note('This conversation is too long to be kept for chat -c');
      return;
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // Written under another name and renamed, so that of two chats at the same time one leaves a whole file.
    const aside = `${path}.${process.pid}`;
    await writeFile(aside, text, { mode: 0o600 });
    await rename(aside, path);
  } catch (error) {
    host.note(`This conversation could not be kept for chat -c: ${(error as Error).message}`);
  }
}

/** https://specifications.freedesktop.org/basedir-spec/latest/: a relative path in the variable is ignored. */
function pathOf({ env }: Host): string {
  const named = env['XDG_STATE_HOME'];
  const home = named !== undefined && isAbsolute(named) ? named : join(homedir(), '.local', 'state');
  return join(home, 'llm-service', 'conversation.json');
}
