/** An event as upstream writes it to its stream. */
export function frameOf(event: { readonly type: string }): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
