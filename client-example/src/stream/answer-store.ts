/**
 * Answers by generation id, outside of React: takes events as fast as they come, notifies its listeners once a frame, and
 * keeps the answer in the browser's storage, cursor and text in one entry. Knows nothing of tRPC.
 *
 * It also knows whether an answer may be started: only one that the person has just asked for, in this tab. All others
 * are followed, so opening a conversation costs nothing, whatever has become of its answers.
 */
import type { LlmEvent } from 'llm-service/client';
import { readStored, removeStored, storedKeys, writeStored } from '../page/storage.ts';
import { applyEvent, emptyAnswer, hasEnded, type Answer, type Refusal } from './answer.ts';
import { FramePacer } from './frame-pacer.ts';
import { answerFrom } from './stored-answer.ts';

/** What the connection does, beside what the answer says. */
export interface Link {
  readonly state: 'connecting' | 'live' | 'reconnecting';
  /** How often the connection was lost and found again. */
  readonly resumes: number;
  /** Characters that were there when it was last resumed, after a cut or a reload: what wasn't sent again. */
  readonly resumedAtChars?: number;
  /** When the service was last heard of, by the page's clock. */
  readonly heardMs: number;
  /** Whether the reader asked to stop, and the end isn't there yet. */
  readonly stopping: boolean;
  /** Changes where the subscription has to begin anew. */
  readonly attempt: number;
}

export interface LiveAnswer {
  readonly answer: Answer;
  readonly link: Link;
  /** False where the browser had no room for it. */
  readonly kept: boolean;
}

/** A reload loses none of what comes between two saves: the cursor is as old as the text. */
const saveMs = 500;
/**
 * How long after it was asked a question may be sent again by itself, while the service has confirmed nothing. It lets a
 * reload in that moment go on; later than that, asking is the person's to decide.
 */
const unconfirmedMsMax = 30_000;
/** Until it is looked again for an answer that another tab has asked for, and that isn't there yet. */
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
  /** When the person asked for it in this tab, until the service has confirmed that. */
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

  /** What is shown: as of the last frame while text comes in, else as it is. */
  readonly get = (): LiveAnswer => this.#shown;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Where a subscription is to go on from, at this moment. */
  get cursor(): string | undefined {
    return this.#answer.lastEventId;
  }

  /** Whether a subscription may start the answer, rather than follow it. */
  get mayStart(): boolean {
    return this.cursor === undefined && this.#askedAtMs !== undefined && isRecent(this.#askedAtMs);
  }

  /** To be called where the person asks for the answer, and nowhere else. */
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

  /** A subscription begins, perhaps on another connection than the one before. */
  seek(): void {
    if (this.#link.state !== 'live') return;
    this.#link = { ...this.#link, state: 'connecting', ...this.#resumePoint() };
    this.#show();
  }

  /** The service was reached, though it may have nothing new to say. */
  linked(): void {
    this.#found();
    this.#show();
  }

  /** The connection was lost, and is being sought. */
  lost(): void {
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  refuse(refusal: Refusal): void {
    this.#answer = { ...this.#answer, refusal };
    // One that only lost its connection is asked for again after a reload.
    if (refusal.code !== 'unreachable') {
      this.#confirmed();
      this.save();
    }
    this.#show();
  }

  /** Asks again, from the cursor, after a refusal: the person wants it. */
  reopen(): void {
    const { refusal: _refusal, ...answer } = this.#answer;
    this.#answer = answer;
    if (this.#askedAtMs !== undefined) this.ask();
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  /**
   * What another tab has asked for may not have reached the service yet: looks again, for as long as that can be.
   *
   * @returns false where it can't be.
   */
  awaitStart(askedAtMs: number | undefined): boolean {
    if (this.cursor !== undefined || this.mayStart || askedAtMs === undefined || !isRecent(askedAtMs)) return false;
    setTimeout(() => {
      this.#link = { ...this.#link, attempt: this.#link.attempt + 1 };
      this.#show();
    }, awaitStartMs);
    return true;
  }

  /** The subscription has ended, and what it ended with is no end of an answer. */
  completed(): void {
    if (!hasEnded(this.#answer)) this.refuse(unreachable('The stream ended without its end'));
  }

  /** Leaves the sending of a question to the person where the page was frozen over it. */
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

  /** To be called when the page may go away, and when there may be room again. */
  flush(): void {
    if (this.#saveTimer !== undefined || !this.#kept) this.save();
  }

  /** To be called when nobody wants it any more. */
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

/** The one store of a generation, so that all who show it show the same. */
export function answerStore(generationId: string): AnswerStore {
  let store = stores.get(generationId);
  if (!store) stores.set(generationId, (store = new AnswerStore(generationId)));
  return store;
}

/** Forgets answers that no conversation shows any more. */
export function forgetAnswers(generationIds: Iterable<string>): void {
  for (const id of generationIds) {
    answerStore(id).forget();
    stores.delete(id);
  }
}

/** Forgets all that is kept but for these. */
export function forgetOtherAnswers(generationIds: readonly string[]): void {
  const wanted = new Set(generationIds);
  for (const id of storedKeys(answerKey(''))) if (!wanted.has(id)) removeStored(answerKey(id));
}

/** Tries anew to keep those for which there was no room. */
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

/** A clock that was set back makes it old. */
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
