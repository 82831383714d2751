/** A connection to Redis that a test can hold back, as a process does that is stopped, and cut for good, as `kill -9` does. */
import { connect, type Connection } from '../../src/stream-log/redis/connection.ts';
import type { Script } from '../../src/stream-log/redis/script.ts';

export interface GatedConnection {
  /** Connects, in the place of the real function. */
  readonly connect: typeof connect;
  /** Holds all that is sent and all messages, until `resume`. */
  pause(): void;
  resume(): void;
  /** Closes it for good. */
  cut(): void;
  /** Puts a function in the place of the next call of a script. It may make that call. */
  around(script: Script, wrapper: Wrapper): void;
}

export type Wrapper = (call: () => Promise<unknown>) => Promise<unknown>;

export function gatedConnection(): GatedConnection {
  let release = () => {};
  let gate: Promise<void> | undefined;
  let connection: Connection | undefined;
  let wrapped: { readonly script: Script; readonly wrapper: Wrapper } | undefined;
  return {
    async connect(address, options) {
      const real = await connect(address, options);
      connection = real;
      return {
        clustered: real.clustered,
        async run(script, keys, args) {
          await gate;
          const call = () => real.run(script, keys, args);
          if (wrapped?.script !== script) return call();
          const { wrapper } = wrapped;
          wrapped = undefined;
          return wrapper(call);
        },
        async command(...args) {
          await gate;
          return real.command(...args);
        },
        subscribe: (channel, listener) =>
          real.subscribe(channel, (message) => (gate ? void gate.then(() => listener(message)) : listener(message))),
        onUp: (listener) => real.onUp(listener),
        onDown: (listener) => real.onDown(listener),
        close: () => real.close(),
      };
    },
    pause() {
      gate ??= new Promise((resolve) => (release = resolve));
    },
    resume() {
      gate = undefined;
      release();
    },
    cut: () => connection?.close(),
    around(script, wrapper) {
      wrapped = { script, wrapper };
    },
  };
}
