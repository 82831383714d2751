/**
 * The last conversation, kept for `chat -c`: one small file of this user's, in the folder that the XDG base directory
 * specification names for such state. Holds text only; nothing but the command line reads or writes it.
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

/** @throws UsageError if there is none that can be gone on with. */
export async function lastConversation(host: Host): Promise<Conversation> {
  const path = pathOf(host);
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new UsageError(`there is no conversation to go on with in ${path}`, { cause });
  }
}

/** Puts it in the place of the one before. Where that fails a note says so, since the answer itself is there. */
export async function keepConversation(host: Host, conversation: Conversation): Promise<void> {
  const path = pathOf(host);
  const text = JSON.stringify(conversation);
  try {
    if (Buffer.byteLength(text) > conversationBytesMax) {
      // The one before would be gone on with by mistake.
      await rm(path, { force: true });
      host.note('This conversation is too long to be kept for chat -c');
      return;
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // Written aside and renamed, so that two chats at once leave one whole file.
    const aside = `${path}.${process.pid}`;
    await writeFile(aside, text, { mode: 0o600 });
    await rename(aside, path);
  } catch (error) {
    host.note(`This conversation could not be kept for chat -c: ${(error as Error).message}`);
  }
}

/** https://specifications.freedesktop.org/basedir-spec/latest/: a relative path in the variable doesn't count. */
function pathOf({ env }: Host): string {
  const named = env['XDG_STATE_HOME'];
  const home = named !== undefined && isAbsolute(named) ? named : join(homedir(), '.local', 'state');
  return join(home, 'llm-service', 'conversation.json');
}
