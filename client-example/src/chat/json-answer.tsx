/** An answer that is one object: its JSON, in lines and indented once it is whole. */

export function JsonAnswer({ text }: { text: string }) {
  return (
    <div className="markdown">
      <pre className="json" tabIndex={0}>
        {inLines(text)}
      </pre>
    </div>
  );
}

export function looksLikeJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** The text as it is where it is no JSON: it is still being written, or was cut short. */
function inLines(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
