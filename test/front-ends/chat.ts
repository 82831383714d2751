/** The chats of the AI SDK's lines 6 and 7 without a framework: their own logic over a plain state. */
import * as line7 from 'ai';
import * as line6 from 'ai-6';

type Message = line7.UIMessage;

class PlainState {
  status: line7.ChatStatus = 'ready';
  error: Error | undefined = undefined;
  messages: Message[];
  /** What was shown, once for each change. */
  readonly onChange: () => void;

  constructor(messages: readonly Message[], onChange: () => void) {
    this.messages = [...messages];
    this.onChange = onChange;
  }

  readonly pushMessage = (message: Message): void => {
    this.messages = [...this.messages, message];
    this.onChange();
  };
  readonly popMessage = (): void => {
    this.messages = this.messages.slice(0, -1);
  };
  readonly replaceMessage = (at: number, message: Message): void => {
    this.messages = this.messages.with(at, structuredClone(message));
    this.onChange();
  };
  readonly snapshot = <T>(value: T): T => structuredClone(value);
}

export interface ChatOptions {
  readonly id: string;
  readonly transport: unknown;
  readonly messages?: readonly Message[];
  readonly sendAutomaticallyWhen?: (options: { messages: Message[] }) => boolean;
}

/** How a message ended, as `onFinish` is called. */
export interface Finish {
  readonly finishReason?: string;
  readonly isAbort: boolean;
  readonly isDisconnect: boolean;
  readonly isError: boolean;
}

export interface PlainChat extends line7.AbstractChat<Message> {
  /** Every end of a message so far. */
  readonly finishes: Finish[];
  /** Settles when the chat satisfies the test, which is asked at each change of a message. */
  until(test: (chat: PlainChat) => boolean): Promise<void>;
  /** What `useChat` of @ai-sdk/react calls by itself when the page is seen again. The package leaves it out of its types. */
  '~resumeStreamIfDisconnected'(): Promise<void>;
}

export interface Line {
  readonly name: string;
  readonly ai: typeof line7;
  chat(options: ChatOptions): PlainChat;
}

export const lines: readonly Line[] = [lineOf('6', line6 as unknown as typeof line7), lineOf('7', line7)];

function lineOf(name: string, ai: typeof line7): Line {
  class Chat extends ai.AbstractChat<Message> {
    readonly finishes: Finish[];
    readonly #waiting: Set<() => void>;

    constructor({ messages = [], ...options }: ChatOptions) {
      const waiting = new Set<() => void>();
      const finishes: Finish[] = [];
      const look = () => waiting.forEach((each) => each());
      super({
        ...options,
        state: new PlainState(messages, look),
        onFinish: ({ finishReason, isAbort, isDisconnect, isError }: Finish) => {
          finishes.push({ ...(finishReason && { finishReason }), isAbort, isDisconnect, isError });
          // The chat settles its status in this turn.
          setImmediate(look);
        },
      } as never);
      this.finishes = finishes;
      this.#waiting = waiting;
    }

    until(test: (chat: PlainChat) => boolean): Promise<void> {
      return new Promise((resolve) => {
        const look = () => {
          if (!test(this as unknown as PlainChat)) return;
          this.#waiting.delete(look);
          resolve();
        };
        this.#waiting.add(look);
        look();
      });
    }
  }
  return { name, ai, chat: (options) => new Chat(options) as unknown as PlainChat };
}

/** The text of the last message. */
export function textOf({ messages }: Pick<PlainChat, 'messages'>): string {
  return (messages.at(-1)?.parts ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('');
}

/** The parts of the last message, but for the boundaries of steps. */
export function partsOf({ messages }: Pick<PlainChat, 'messages'>) {
  return (messages.at(-1)?.parts ?? []).filter(({ type }) => type !== 'step-start');
}
