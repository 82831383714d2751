/**
 * Answers by generation id, outside of React: takes events as fast as they come, tells its listeners once a frame, and
 * keeps the answer in the browser's storage, cursor and text in one entry. Knows nothing of tRPC.
 */
import type { LlmEvent } from 'llm-service/client';
import { readStored, removeStored, writeStored } from '../page/storage.ts';
import { applyEvent, emptyAnswer, hasEnded, type Answer, type Refusal } from './answer.ts';
import { FramePacer } from './frame-pacer.ts';

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
}

export interface LiveAnswer {
  readonly answer: Answer;
  readonly link: Link;
}

/** A reload loses none of what comes between two saves: the cursor is as old as the text. */
const saveMs = 500;

export class AnswerStore {
  readonly #key: string;
  readonly #listeners = new Set<() => void>();
  #answer: Answer;
  #link: Link;
  #shown: LiveAnswer;
  readonly #pacer = new FramePacer(() => this.#show());
  #saveTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(generationId: string) {
    this.#key = keyOf(generationId);
    this.#answer = (readStored(this.#key) as Answer | undefined) ?? emptyAnswer;
    const resumed = this.#answer.lastEventId !== undefined && !hasEnded(this.#answer);
    const heardMs = performance.now();
    this.#link = { state: 'connecting', resumes: 0, heardMs, stopping: false, ...(resumed && this.#resumePoint()) };
    this.#shown = { answer: this.#answer, link: this.#link };
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

  push(id: string, event: LlmEvent): void {
    this.#answer = applyEvent(this.#answer, id, event);
    this.#found();
    if (hasEnded(this.#answer)) {
      this.#save();
      this.#show();
      return;
    }
    this.#saveTimer ??= setTimeout(this.#save, saveMs);
    this.#pacer.request();
  }

  /** The service was reached, though it may have nothing new to tell. */
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
    if (refusal.code !== 'unreachable') this.#save();
    this.#show();
  }

  /** Asks again, from the cursor, after a refusal. */
  reopen(): void {
    const { refusal: _refusal, ...answer } = this.#answer;
    this.#answer = answer;
    this.#link = { ...this.#link, state: 'reconnecting', ...this.#resumePoint() };
    this.#show();
  }

  setStopping(stopping: boolean): void {
    this.#link = { ...this.#link, stopping };
    this.#show();
  }

  readonly #save = (): void => {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    writeStored(this.#key, this.#answer);
  };

  /** To be called when the page may go away. */
  flush(): void {
    if (this.#saveTimer !== undefined) this.#save();
  }

  #found(): void {
    const { state, resumes } = this.#link;
    const found = state === 'reconnecting' ? resumes + 1 : resumes;
    this.#link = { ...this.#link, state: 'live', resumes: found, heardMs: performance.now() };
  }

  #show(): void {
    this.#pacer.cancel();
    this.#shown = { answer: this.#answer, link: this.#link };
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
    stores.delete(id);
    removeStored(keyOf(id));
  }
}

function keyOf(generationId: string): string {
  return `answer:${generationId}`;
}

addEventListener('pagehide', () => {
  for (const store of stores.values()) store.flush();
});
