/** Who asks, as authentication found it. */
export interface Caller {
  /** Owns the generations that it starts; the same generationId under another name is another generation. */
  readonly name: string;
}
