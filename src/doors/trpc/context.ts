/** What a door hands to the procedures beside their input. Holds no logic. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Credentials } from '../../access/access.ts';
import type { Caller } from '../../caller.ts';
import type { RefusalDoor } from '../../telemetry/refusal-lines.ts';
import type { RequestTrace } from '../../telemetry/traces.ts';

/** What `authenticate` of `createLlmRouter` is called with. */
export interface AuthRequest extends Credentials {
  /** The context that the tRPC app made for this request, untouched. */
  readonly context: unknown;
}

/** What one of the service's own doors knows of a request. A host's adapter passes none. */
export interface RequestNote {
  /** The door that the request came in by, for the log line of a refusal. */
  readonly door: RefusalDoor;
  /** The id under which a refusal is logged; clients find it as `x-request-id` and `error.data.requestId`. */
  readonly requestId: string;
  /** The caller's name. The procedures set it as soon as the credentials are judged. */
  caller?: string | undefined;
  /** The request's span. Absent where nothing is traced. */
  readonly trace?: RequestTrace | undefined;
  /** @throws LlmError where the request may attach to a generation, but start none. */
  readonly checkStart?: (() => void) | undefined;
  /** Counts long answers until they have left the socket. Absent where the door can't know when that is. */
  readonly room?: {
    /** Settles when the answer may be made; undefined where it may be made now. @throws LlmError where there is no room. */
    take(caller: Caller, bytes: number): Promise<void> | undefined;
  };
}

/** The context that the procedures read. tRPC's adapters pass these fields to `createContext`; each may be absent. */
export interface LlmContext {
  /** Set by the service's own doors alone. */
  readonly note?: RequestNote | undefined;
  /** The HTTP request, or the upgrade request of a WebSocket. */
  readonly req?:
    | {
        /** The request's headers, of which `authorization` may hold a key. */
        readonly headers: IncomingHttpHeaders | Headers;
        /** The connection; a WebSocket's events wait until it has room. */
        readonly socket?: Socket | undefined;
      }
    | undefined;
  /** The HTTP response, or the WebSocket. */
  readonly res?: unknown;
  /** tRPC's own facts about the request. */
  readonly info?:
    | {
        /** The first message of a WebSocket's client: `{token}`. */
        readonly connectionParams?: Credentials['connectionParams'];
      }
    | undefined;
}
