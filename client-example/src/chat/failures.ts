/** The failures in words for readers: what happened, and whether trying again can help. */
import type { LlmClientErrorCode } from 'llm-service/client';

export interface Failure {
  readonly code: LlmClientErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number | undefined;
}

interface Words {
  readonly title: string;
  readonly advice: string;
}

/** Whether only the connection was lost: the service still has the answer, or may have it. */
export function isInterruption({ code }: Failure): boolean {
  return code === 'unreachable' || code === 'closed';
}

/** @param begun Whether some of the answer has arrived. */
export function explain({ code }: Failure, begun: boolean): Words {
  if (code === 'generation_not_found' && !begun) return neverReceived;
  // A newer service may have codes that are not in this table.
  return words[code] ?? words.internal;
}

const neverReceived: Words = {
  title: 'There is no answer here',
  advice: 'The question may not have arrived, or its answer is no longer kept. You can ask again.',
};

const words: Readonly<Record<LlmClientErrorCode, Words>> = {
  invalid_input: {
    title: 'The request was not understood',
    advice: 'Change it as the message says, then send it again.',
  },
  unauthorized: { title: 'A key is needed', advice: 'Enter one that this service knows.' },
  forbidden: { title: 'Not allowed from here', advice: 'Whoever runs the service can allow this address.' },
  config_not_found: { title: 'This config is gone', advice: 'Choose another one, then ask again.' },
  generation_not_found: {
    title: 'The answer is no longer kept',
    advice: 'The part that arrived is shown here. Ask again for a complete answer.',
  },
  conflict: { title: 'This id belongs to another question', advice: 'Ask again, under a new one.' },
  too_large: { title: 'The conversation is too long to send', advice: 'Shorten the message, or begin a new chat.' },
  rate_limited: { title: 'Too many requests', advice: 'Trying again helps, after a while.' },
  at_capacity: { title: 'The service is full', advice: 'Trying again helps, in a moment.' },
  shutting_down: { title: 'The service is going down', advice: 'Trying again helps once it is back.' },
  upstream_auth: {
    title: 'The model refused the service',
    advice: 'The key of the service has to be corrected; trying again won’t help.',
  },
  upstream_invalid_request: {
    title: 'The model did not take the request',
    advice: 'Trying again won’t help; another message or config may.',
  },
  upstream_rate_limited: { title: 'The model is rate limited', advice: 'Trying again helps, after a while.' },
  upstream_overloaded: { title: 'The model is overloaded', advice: 'Trying again in a minute usually helps.' },
  upstream_unreachable: { title: 'The model can’t be reached', advice: 'Trying again helps once it is back.' },
  upstream_timeout: { title: 'The model fell silent', advice: 'Trying again usually helps.' },
  upstream_truncated: {
    title: 'The answer was cut short',
    advice: 'Trying again usually helps. The text so far is kept.',
  },
  upstream_error: { title: 'The model failed', advice: 'Trying again may help.' },
  log_limit: { title: 'The answer grew too long', advice: 'Ask for less at once; trying again won’t help.' },
  producer_lost: { title: 'The service was restarted', advice: 'The answer was lost. Trying again helps.' },
  internal: { title: 'The service failed', advice: 'This is an error in the service; trying again may not help.' },
  unreachable: {
    title: 'No connection to the service',
    advice: 'The service may still be writing the answer. Reconnecting shows the missing part.',
  },
  cancelled: { title: 'Stopped before it began', advice: 'Ask again whenever you like.' },
  output_invalid: { title: 'The answer has not the form that was asked for', advice: 'Trying again usually helps.' },
  closed: { title: 'The connection was closed', advice: 'Reconnecting shows the missing part.' },
  unsupported: { title: 'This browser lacks something', advice: 'Another one, or a newer one, has it.' },
};
