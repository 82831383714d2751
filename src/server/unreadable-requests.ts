/**
 * Refuses requests that never become a request of fastify, since Node's parser stops at them: garbage, a head that is too large or too
 * slow, an expectation that nobody knows. Node by itself answers them without a word of what was wrong.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { invalidRequest, plainBody } from '../doors/http-refusals.ts';
import { LlmError } from '../errors.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { OpenResponses } from './open-responses.ts';

interface Refusal {
  readonly status: string;
  readonly error: LlmError;
}

export class UnreadableRequests {
  readonly #telemetry: Telemetry;
  readonly #responses: OpenResponses;

  constructor(telemetry: Telemetry, responses: OpenResponses) {
    this.#telemetry = telemetry;
    this.#responses = responses;
  }

  /** Refuses expectations, which Node asks the server for. */
  watch(server: Server): void {
    server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      const error = invalidRequest('Expected the header "Expect: 100-continue" or none');
      const { requestId, body } = this.#refuse(error);
      // The client may send its body all the same, which nobody reads.
      response.writeHead(417, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'x-request-id': requestId,
        connection: 'close',
      });
      response.end(body);
      request.resume();
    });
  }

  /** Answers what the parser stopped at, and closes the connection: nobody knows where the next request would begin. */
  onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    // In the middle of another response, a refusal would be taken for a part of it.
    if (socket.writable && this.#responses.isIdle(socket)) {
      const { status, error: refused } = refusalOf(error);
      const { requestId, body } = this.#refuse(refused);
      const head = [
        `HTTP/1.1 ${status}`,
        'Content-Type: application/json',
        `Content-Length: ${Buffer.byteLength(body)}`,
        `X-Request-Id: ${requestId}`,
        'Connection: close',
      ];
      socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    }
    socket.destroySoon();
  }

  #refuse(error: LlmError): { readonly requestId: string; readonly body: string } {
    const requestId = randomUUID();
    this.#telemetry.refused({ door: 'http', code: error.code, requestId });
    return { requestId, body: JSON.stringify(plainBody(error, { id: requestId })) };
  }
}

/** Node's codes: https://nodejs.org/api/http.html#event-clienterror and llhttp's, which begin with `HPE_`. */
function refusalOf({ code }: NodeJS.ErrnoException): Refusal {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return {
        status: '431 Request Header Fields Too Large',
        error: new LlmError('too_large', 'The head of the request is larger than this service takes'),
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: '408 Request Timeout', error: invalidRequest('The request took too long to arrive') };
    default:
      return { status: '400 Bad Request', error: invalidRequest('Expected a request of HTTP/1.1') };
  }
}
