/**
 * The calls of tools in words of other APIs. What the service itself runs is there a call of a tool on a server (MCP), which no client
 * tries to execute. The server's name marks these calls, so that the doors know them when a client sends an answer back.
 */
import type { LlmEvent, ToolResultEvent } from '../protocol.ts';

/** The name of the server that the service's own calls name. */
export const ownServerName = 'llm-service';

/** A call that the client answers. */
export interface ClientCall {
  readonly id: string;
  readonly name: string;
  /** Text where the model wrote no valid JSON. */
  readonly input: unknown;
}

/** The call that an event is, if the client has to answer it. A config without tools leaves all calls to the client, as blocks. */
export function clientCallOf(event: LlmEvent): ClientCall | undefined {
  if (event.type === 'tool_call') return event.by === 'client' ? event : undefined;
  if (event.type !== 'block' || event.block['type'] !== 'tool_use') return undefined;
  const { id, name, input, input_json: cutShort } = event.block;
  return { id: String(id), name: String(name), input: cutShort ?? input };
}

/** The input of a call as text. The model may have written text that is no JSON, which stays as it is. */
export function inputText(input: unknown): string {
  return typeof input === 'string' ? input : JSON.stringify(input ?? {});
}

/** What a client reads as the result: the output, or why there is none. Undefined where the tool doesn't declare its `output`. */
export function resultText(result: ToolResultEvent): string | undefined {
  if (!result.ok) return result.error.message;
  const { output } = result;
  return output === undefined || typeof output === 'string' ? output : JSON.stringify(output);
}
