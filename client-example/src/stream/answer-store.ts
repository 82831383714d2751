/**
 * Answers by generation id, outside of React. The store takes what `useAnswer` shows, and saves it in the browser's storage,
 * with text and cursor in one entry. Knows nothing of connections.
 *
 * It also decides whether a request may start an answer: only one that the person has just asked for in this tab. All other
 * answers are only followed. So opening a conversation costs nothing, whatever has happened to its answers.
 */
import { emptyAnswer, type Answer, type AnswerError, type LiveAnswerState } from 'llm-service/react';
import { readStored, removeStored, storedKeys, writeStored } from '../page/storage.ts';
import { hasEnded } from './answer.ts';
import { answerFrom, storedOf } from './stored-answer.ts';

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
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  /** When the person asked in this tab. Undefined when the service has confirmed the question. */
  #askedAtMs: number | undefined;
  /** Undefined until the answer is opened. */
  #starts: boolean | undefined;

  constructor(generationId: string) {
    this.#id = generationId;
    this.#answer = { ...(readStored(answerKey(generationId), answerFrom) ?? emptyAnswer), generationId };
    this.#askedAtMs = readStored(askedKey(generationId), timeFrom, 'tab');
    const resumed = this.#answer.lastEventId !== undefined && !hasEnded(this.#answer);
    this.#link = {
      state: 'connecting',
      resumes: 0,
      heardMs: performance.now(),
      stopping: false,
      ...(resumed && this.#resumePoint()),
    };
    this.#shown = { answer: this.#answer, link: this.#link, kept: true };
  }

  readonly get = (): LiveAnswer => this.#shown;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Whether the request for the answer may start it. If not, it may only follow it. Decided once, when the answer is opened. */
  get starts(): boolean {
    return (this.#starts ??= this.#mayStart);
  }

  /** Call this when the person asks for the answer, and never otherwise. */
  ask(): void {
    this.#starts = undefined;
    this.#askedAtMs = Date.now();
    writeStored(askedKey(this.#id), this.#askedAtMs, 'tab');
  }

  /** Takes what the hook shows. */
  take({ answer, connection, stopping }: Pick<LiveAnswerState, 'answer' | 'connection' | 'stopping'>): void {
    const begun = this.#begun;
    this.#answer = answer;
    if (this.#begun && !begun) this.#confirmed();
    if (answer.error && !answer.terminal) this.#refused(answer.error);
    else if (hasEnded(answer) || this.#begun !== begun) this.save();
    else if (begun) this.#saveTimer ??= setTimeout(this.save, saveMs);
    this.#link = { ...this.#linkTo(connection), stopping };
    this.#show();
  }

  /** Asks for the remaining events again after a refusal, because the person wants it. */
  reopen(): void {
    const { error: _error, ...answer } = this.#answer;
    this.#answer = { ...answer, status: this.#begun ? 'running' : 'waiting' };
    this.#starts = undefined;
    if (this.#askedAtMs !== undefined) this.ask();
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  /**
   * A question that another tab has asked may not have reached the service yet. In that case this calls `look` a little later,
   * which looks for the answer again.
   *
   * @returns false if the answer can't still be on its way.
   */
  awaitStart(askedAtMs: number | undefined, look: () => void): boolean {
    if (this.#begun || this.#mayStart || askedAtMs === undefined || !isRecent(askedAtMs)) return false;
    setTimeout(look, awaitStartMs);
    return true;
  }

  /**
   * Call this when a frozen page is shown again. If its question may not have been sent, the person has to decide
   * whether to ask again.
   */
  thaw(): void {
    if (this.#askedAtMs === undefined || this.#mayStart || hasEnded(this.#answer)) return;
    this.#answer = { ...this.#answer, status: 'error', error: unsent };
    this.#show();
  }

  readonly save = (): void => {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    const kept = writeStored(answerKey(this.#id), storedOf(this.#answer));
    if (kept === this.#kept) return;
    this.#kept = kept;
    this.#show();
  };

  /** Call this when the page may go away, and when the browser may have room again. */
  flush(): void {
    if (this.#saveTimer !== undefined || !this.#kept) this.save();
  }

  /** Call this when nobody needs the answer any more. */
  forget(): void {
    clearTimeout(this.#saveTimer);
    removeStored(answerKey(this.#id));
    this.#confirmed();
  }

  #confirmed(): void {
    this.#askedAtMs = undefined;
    removeStored(askedKey(this.#id), 'tab');
  }

  get #mayStart(): boolean {
    return !this.#begun && this.#askedAtMs !== undefined && isRecent(this.#askedAtMs);
  }

  /** Whether the service has confirmed the question. */
  get #begun(): boolean {
    return this.#answer.lastEventId !== undefined;
  }

  /** If only the connection was lost, the page asks for the answer again after a reload. */
  #refused({ code }: AnswerError): void {
    if (code === 'unreachable') return;
    this.#confirmed();
    this.save();
  }

  #linkTo(state: Link['state']): Link {
    const { state: before, resumes } = this.#link;
    // `reopen` is such a reconnect, too.
    if (state === 'connecting' && before === 'reconnecting') return this.#link;
    const link = { ...this.#link, state };
    if (state !== 'live') return before === 'live' ? { ...link, ...this.#resumePoint() } : link;
    return { ...link, resumes: before === 'reconnecting' ? resumes + 1 : resumes, heardMs: performance.now() };
  }

  #show(): void {
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

const unsent: AnswerError = { code: 'unreachable', message: 'The question may not have been sent', retryable: true };

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
