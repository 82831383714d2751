/**
 * Answers by generation id, outside of React. The store takes events as fast as they arrive, notifies its listeners
 * once per frame, and saves the answer in the browser's storage, with text and cursor in one entry. Knows nothing of
 * tRPC.
 *
 * It also decides whether a subscription may start an answer: only one that the person has just asked for in this tab.
 * All other answers are only followed. So opening a conversation costs nothing, whatever has happened to its answers.
 */
import type { LlmEvent } from 'llm-service/client';
import { readStored, removeStored, storedKeys, writeStored } from '../page/storage.ts';
import { applyEvent, emptyAnswer, hasEnded, type Answer, type Refusal } from './answer.ts';
import { FramePacer } from './frame-pacer.ts';
import { answerFrom } from './stored-answer.ts';

/** The state of the connection. The state of the answer is in `Answer`. */
export interface Link {
  readonly state: 'connecting' | 'live' | 'reconnecting';
  /** How often the connection was lost and found again. */
  readonly resumes: number;
  /**
   * How many characters the page had when it last resumed, after a cut or a reload. The service did not send these
   * again.
   */
  readonly resumedAtChars?: number;
  /** When the service last sent anything, by the page's monotonic clock. */
  readonly heardMs: number;
  /** Whether the reader has asked to stop, and the terminal event has not arrived yet. */
  readonly stopping: boolean;
  /** A new number makes the hook subscribe again. */
  readonly attempt: number;
}

export interface LiveAnswer {
  readonly answer: Answer;
  readonly link: Link;
  /** False if the browser had no room to store the answer. */
  readonly kept: boolean;
}

/**
 * How often the answer is saved. A reload between two saves loses nothing, because text and cursor are saved together.
 */
const saveMs = 500;
/**
 * If a question was asked less than this time ago and the service has not confirmed it, the page may send it again by
 * itself. So a reload in that moment continues. Later, only the person may ask again.
 */
const unconfirmedMsMax = 30_000;
/**
 * If another tab has asked a question and its answer doesn't exist yet, the page looks for it again after this time.
 */
const awaitStartMs = 500;

export class AnswerStore {
  readonly #id: string;
  readonly #listeners = new Set<() => void>();
  #answer: Answer;
  #link: Link;
  #kept = true;
  #shown: LiveAnswer;
  readonly #pacer = new FramePacer(() => this.#show());
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  /** When the person asked in this tab. Undefined when the service has confirmed the question. */
  #askedAtMs: number | undefined;

  constructor(generationId: string) {
    this.#id = generationId;
    this.#answer = readStored(answerKey(generationId), answerFrom) ?? emptyAnswer;
    this.#askedAtMs = readStored(askedKey(generationId), timeFrom, 'tab');
    const resumed = this.#answer.lastEventId !== undefined && !hasEnded(this.#answer);
    this.#link = {
      state: 'connecting',
      resumes: 0,
      heardMs: performance.now(),
      stopping: false,
      attempt: 0,
      ...(resumed && this.#resumePoint()),
    };
    this.#shown = { answer: this.#answer, link: this.#link, kept: true };
  }

  /** What the page shows. While text arrives this is the state at the last frame, otherwise the current state. */
  readonly get = (): LiveAnswer => this.#shown;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The event id after which a subscription has to continue now. */
  get cursor(): string | undefined {
    return this.#answer.lastEventId;
  }

  /** Whether a subscription may start the answer. If not, it may only follow it. */
  get mayStart(): boolean {
    return this.cursor === undefined && this.#askedAtMs !== undefined && isRecent(this.#askedAtMs);
  }

  /** Call this when the person asks for the answer, and never otherwise. */
  ask(): void {
    this.#askedAtMs = Date.now();
    writeStored(askedKey(this.#id), this.#askedAtMs, 'tab');
  }

  push(id: string, event: LlmEvent): void {
    const first = this.cursor === undefined;
    this.#answer = applyEvent(this.#answer, id, event);
    this.#found();
    if (first) this.#confirmed();
    if (first || hasEnded(this.#answer)) this.save();
    else this.#saveTimer ??= setTimeout(this.save, saveMs);
    if (hasEnded(this.#answer)) this.#show();
    else this.#pacer.request();
  }

  /** Call this when a subscription begins, perhaps on another connection than the one before. */
  seek(): void {
    if (this.#link.state !== 'live') return;
    this.#link = { ...this.#link, state: 'connecting', ...this.#resumePoint() };
    this.#show();
  }

  /** Call this when the service was reached, also if it has sent no event. */
  linked(): void {
    this.#found();
    this.#show();
  }

  /** Call this when the connection was lost and the client is reconnecting. */
  lost(): void {
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  refuse(refusal: Refusal): void {
    this.#answer = { ...this.#answer, refusal };
    // If only the connection was lost, the page asks for the answer again after a reload.
    if (refusal.code !== 'unreachable') {
      this.#confirmed();
      this.save();
    }
    this.#show();
  }

  /** Asks for the remaining events again after a refusal, because the person wants it. */
  reopen(): void {
    const { refusal: _refusal, ...answer } = this.#answer;
    this.#answer = answer;
    if (this.#askedAtMs !== undefined) this.ask();
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  /**
   * A question that another tab has asked may not have reached the service yet. In that case this looks for the answer
   * again a little later.
   *
   * @returns false if the answer can't still be on its way.
   */
  awaitStart(askedAtMs: number | undefined): boolean {
    if (this.cursor !== undefined || this.mayStart || askedAtMs === undefined || !isRecent(askedAtMs)) return false;
    setTimeout(() => {
      this.#link = { ...this.#link, attempt: this.#link.attempt + 1 };
      this.#show();
    }, awaitStartMs);
    return true;
  }

  /** Call this when the subscription has ended. Without a terminal event, that is a failure. */
  completed(): void {
    if (!hasEnded(this.#answer)) this.refuse(unreachable('The stream ended without its end'));
  }

  /**
   * Call this when a frozen page is shown again. If its question may not have been sent, the person has to decide
   * whether to ask again.
   */
  thaw(): void {
    if (this.#askedAtMs === undefined || this.mayStart || hasEnded(this.#answer)) return;
    this.refuse(unreachable('The question may not have been sent'));
  }

  setStopping(stopping: boolean): void {
    this.#link = { ...this.#link, stopping };
    this.#show();
  }

  readonly save = (): void => {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    const kept = writeStored(answerKey(this.#id), this.#answer);
    if (kept === this.#kept) return;
    this.#kept = kept;
    this.#pacer.request();
  };

  /** Call this when the page may go away, and when the browser may have room again. */
  flush(): void {
    if (this.#saveTimer !== undefined || !this.#kept) this.save();
  }

  /** Call this when nobody needs the answer any more. */
  forget(): void {
    clearTimeout(this.#saveTimer);
    this.#pacer.cancel();
    removeStored(answerKey(this.#id));
    this.#confirmed();
  }

  #confirmed(): void {
    this.#askedAtMs = undefined;
    removeStored(askedKey(this.#id), 'tab');
  }

  #found(): void {
    const { state, resumes } = this.#link;
    const found = state === 'reconnecting' ? resumes + 1 : resumes;
    this.#link = { ...this.#link, state: 'live', resumes: found, heardMs: performance.now() };
  }

  #show(): void {
    this.#pacer.cancel();
    this.#shown = { answer: this.#answer, link: this.#link, kept: this.#kept };
    for (const listener of this.#listeners) listener();
  }

  #resumePoint(): { resumedAtChars: number } {
    return {
      resumedAtChars: this.#answer.parts.reduce((sum, part) => sum + ('text' in part ? part.text.length : 0), 0),
    };
  }
}

const stores = new Map<string, AnswerStore>();

/** The only store of a generation, so that everything that shows it shows the same. */
export function answerStore(generationId: string): AnswerStore {
  let store = stores.get(generationId);
  if (!store) stores.set(generationId, (store = new AnswerStore(generationId)));
  return store;
}

/** Deletes answers that no conversation shows any more. */
export function forgetAnswers(generationIds: Iterable<string>): void {
  for (const id of generationIds) {
    answerStore(id).forget();
    stores.delete(id);
  }
}

/** Deletes all stored answers except these. */
export function forgetOtherAnswers(generationIds: readonly string[]): void {
  const wanted = new Set(generationIds);
  for (const id of storedKeys(answerKey(''))) if (!wanted.has(id)) removeStored(answerKey(id));
}

/** Tries again to save answers that the browser had no room for. */
export function keepAnswers(generationIds: Iterable<string>): void {
  for (const id of generationIds) stores.get(id)?.flush();
}

function answerKey(generationId: string): string {
  return `answer:${generationId}`;
}

function askedKey(generationId: string): string {
  return `asked:${generationId}`;
}

function timeFrom(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function unreachable(message: string): Refusal {
  return { code: 'unreachable', message, retryable: true, retryAfterMs: undefined };
}

/** False for a time in the future, too: then the clock was set back. */
function isRecent(askedAtMs: number): boolean {
  const agoMs = Date.now() - askedAtMs;
  return agoMs >= 0 && agoMs < unconfirmedMsMax;
}

addEventListener('pagehide', () => {
  for (const store of stores.values()) store.flush();
});

addEventListener('pageshow', ({ persisted }) => {
  if (persisted) for (const store of stores.values()) store.thaw();
});
