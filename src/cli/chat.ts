/** `chat`: prints the answer to one prompt, which this process or a service at a URL generates. */
import { randomUUID } from 'node:crypto';
import type { StreamRequest, CallAnswer } from '../protocol.ts';
import { show, type Shown } from './answer.ts';
import { keepConversation, lastConversation, type Conversation } from './conversation.ts';
import { exitCodes } from './exit-codes.ts';
import type { Host } from './host.ts';
import { Interrupt } from './interrupt.ts';
import type { RemoteOptions, ShowOptions } from './options.ts';
import { readPrompt, type StdinOptions } from './prompt.ts';
import { openTarget } from './target.ts';
import { asked } from './words.ts';

export interface ChatOptions extends ShowOptions, RemoteOptions, StdinOptions {
  readonly var?: Readonly<Record<string, string>>;
  readonly continue?: boolean;
  /** False where `--no-keep` is given. */
  readonly keep: boolean;
}

export async function chat(host: Host, config: string, words: readonly string[], options: ChatOptions): Promise<void> {
  using interrupt = new Interrupt(host);
  const past = options.continue ? await lastConversation(host) : undefined;
  const prompt = await readPrompt(words, host, interrupt.signal, options);
  if (interrupt.signal.aborted) return host.exitWith(exitCodes.interrupted);

  // Kept variables belong to the prompt of that config; another config's prompt has others.
  const kept = past?.config === config ? past.variables : {};
  const conversation: Conversation = {
    config,
    variables: { ...kept, ...options.var },
    messages: [...(past?.messages ?? []), { role: 'user', content: prompt }],
  };
  const { exitCode, text, terminal } = await asked(options, () => ask(host, conversation, interrupt, options));
  host.exitWith(exitCode);
  if (!options.keep || terminal?.type !== 'done' || text.trim() === '') return;
  const messages = [...conversation.messages, { role: 'assistant' as const, content: text }];
  await keepConversation(host, { ...conversation, messages });
}

async function ask(host: Host, request: StreamRequest, interrupt: Interrupt, options: ChatOptions): Promise<Shown> {
  const generationId = randomUUID();
  await using target = await openTarget(host, options);
  const answer = {
    view: (signal: AbortSignal) => target.stream({ ...request, generationId }, signal),
    cancel: () => target.cancel(generationId),
    resolve: (answers: CallAnswer[]) => target.resolve(generationId, answers),
  };
  return await show(answer, interrupt, host, options);
}
