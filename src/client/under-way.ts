/**
 * The operations of one client that are under way. Closing the client makes them fail. Its listeners exist only while
 * there are any.
 */
import type { Course } from './course.ts';
import { LlmClientError } from './error.ts';

/** Begins something that is needed only while operations are under way. The function that it returns ends it. */
export type Begin = (underWay: Iterable<Course>) => () => void;

export class UnderWay {
  readonly #courses = new Set<Course>();
  readonly #begins: readonly Begin[];
  #ends: (() => void)[] = [];
  #closed = false;

  constructor(begins: readonly Begin[]) {
    this.#begins = begins;
  }

  /** Adds a course until `delete`. The course fails when the client is closed, or at once if it is closed already. */
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
