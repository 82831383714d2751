/** Who sent a request, as authentication found it. */
export interface Caller {
  /** Owns the generations that are started under it. The same generationId under another name is another generation. */
  readonly name: string;
}
