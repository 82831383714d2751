/**
 * The other instances that have viewers of a generation of this one. Each counts as one viewer of the producer, however many it
 * has itself.
 */
import type { Producer } from '../stream-log.ts';

export class Watchers {
  #instances = new Set<string>();
  readonly #producer: Producer;

  constructor(producer: Producer) {
    this.#producer = producer;
  }

  /** As Redis keeps them: `,a,b,`, or nothing. */
  get text(): string {
    return this.#instances.size === 0 ? '' : `,${[...this.#instances].join(',')},`;
  }

  /**
   * Takes what Redis says, which begins with a `!` where the generation is to be cancelled.
   *
   * @param isAlive Whether an instance's viewers count: an instance that is gone may still stand in Redis.
   */
  update(text: string, isAlive: (instance: string) => boolean): void {
    const names = text.replace('!', '').split(',');
    const now = new Set(names.filter((name) => name !== '' && isAlive(name)));
    const before = this.#instances;
    this.#instances = now;
    for (const name of now) if (!before.has(name)) this.#producer.viewerCame();
    for (const name of before) if (!now.has(name)) this.#producer.viewerLeft();
  }

  /** Returns whether the instance was among them. The producer isn't called. */
  delete(instance: string): boolean {
    return this.#instances.delete(instance);
  }
}
