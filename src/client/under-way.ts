/** The operations of one client: they end when it is closed, and hear what concerns them all while there are any. */
import type { Course } from './course.ts';
import { LlmClientError } from './error.ts';

/** Begins something that is wanted only while operations are under way; what it returns ends it. */
export type Begin = (underWay: Iterable<Course>) => () => void;

export class UnderWay {
  readonly #courses = new Set<Course>();
  readonly #begins: readonly Begin[];
  #ends: (() => void)[] = [];
  #closed = false;

  constructor(begins: readonly Begin[]) {
    this.#begins = begins;
  }

  /** Until `delete`, or until the client is closed, when it fails; at once if that is so. */
  add(course: Course): void {
    if (this.#closed) return course.fail(closed());
    this.#courses.add(course);
    if (this.#courses.size === 1) this.#ends = this.#begins.map((begin) => begin(this.#courses));
  }

  delete(course: Course): void {
    if (!this.#courses.delete(course) || this.#courses.size > 0) return;
    for (const end of this.#ends) end();
    this.#ends = [];
  }

  close(): void {
    this.#closed = true;
    for (const course of this.#courses) course.fail(closed());
  }
}

function closed(): LlmClientError {
  return new LlmClientError('closed', 'The client was closed');
}
