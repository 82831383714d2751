/**
 * What tests read of elements within a page. Where the DOM's types aren't loaded, React's types declare elements without any member.
 */
interface Element {
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
  addEventListener(type: string, listener: (event: unknown) => void, options?: object): void;
}
