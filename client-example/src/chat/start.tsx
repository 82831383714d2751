/** Shown in an empty conversation: what this page is, and suggestions for a first question. */
import type { Choice } from '../page/trpc.ts';

type Suggestion = Choice & { readonly prompt: string; readonly label: string };

/** Config names and variables are literal types: if the service renames a config, this file no longer compiles. */
const suggestions: readonly Suggestion[] = [
  {
    config: 'default',
    label: 'A question about this service',
    prompt: 'What happens when the connection is lost in mid-answer?',
  },
  { config: 'assistant', label: 'A tool at work', prompt: 'What time is it in Oslo?' },
  {
    config: 'tutor',
    variables: { subject: 'HTTP streaming' },
    label: 'Be taught',
    prompt: 'How does resume by Last-Event-ID work?',
  },
  {
    config: 'default',
    label: 'A table, as it is written',
    prompt: 'Which error codes are there, and does a retry help?',
  },
];

export function Start({ onSuggest }: { onSuggest: (suggestion: Suggestion) => void }) {
  return (
    <div className="start">
      <h2>Ask, cut the line, reload. The answer survives.</h2>
      <p>
        Every answer here is one generation on the service. This page follows it, and can lose it and find it again as
        often as it likes: upstream is called once, and no word comes twice.
      </p>
      <ul>
        {suggestions.map((suggestion) => (
          <li key={suggestion.prompt}>
            <button type="button" onClick={() => onSuggest(suggestion)}>
              <strong>{suggestion.label}</strong>
              <span>{suggestion.prompt}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
