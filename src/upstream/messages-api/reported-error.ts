/**
 * What upstream says went wrong: the error in the body of a refusal, in an event of a stream, or in a body that stands where
 * a stream should. Gateways write it in many forms. Knows nothing of what follows from it, and makes no message.
 */
import { classify, isErrorType, type UpstreamCode } from '../failures.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What is longer is no name of an error. */
const nameCharsMax = 128;

/** An error as upstream told it. */
export interface ReportedError {
  /** By its type where that is a known one, else by the status inside it. */
  readonly code: UpstreamCode;
  /** Upstream's name for it. */
  readonly type: string | undefined;
  /** Upstream's sentence, unfit for a log as it is. */
  readonly said: string | undefined;
  readonly requestId: string | undefined;
}

/**
 * Whether a value tells an error, going by its form. Leaves alone what has a type of its own, unless that type is an error's.
 *
 * @param anonymous Whether nothing else says what the value is, so that a `detail` or a bare `message` makes it an error.
 */
export function reportsError(value: unknown, anonymous: boolean): boolean {
  if (Array.isArray(value)) return value.length > 0 && reportsError(value[0], anonymous);
  if (!isFields(value)) return false;
  const { type, object, error, errors, detail, message } = value as Readonly<Partial<Record<string, unknown>>>;
  if (type === 'error' || object === 'error' || isErrorType(type)) return true;
  if (typeof type === 'string') return false;
  if (isSaid(error) || isFields(error) || (Array.isArray(errors) && errors.length > 0)) return true;
  return anonymous && (isSaid(message) || isSaid(detail) || (typeof detail === 'object' && detail !== null));
}

/** The error in a value that is taken for one, whatever form it has. `status` is HTTP's; 200 says nothing. */
export function readError(value: unknown, status?: number): ReportedError {
  const body = Array.isArray(value) ? (value[0] as unknown) : value;
  const outer = isFields(body) ? body : {};
  const [firstOfErrors] = Array.isArray(outer['errors']) ? (outer['errors'] as unknown[]) : [];
  const held = outer['error'] ?? firstOfErrors;
  const inner = isFields(held) ? held : {};
  const names = [inner['type'], inner['code'], inner['status'], outer['type'], outer['code'], outer['status']].filter(
    (name) => typeof name === 'string' && name !== 'error' && name.length <= nameCharsMax,
  );
  // A bare text may be a type as well; if it isn't a known one it is a sentence, which may quote anything.
  const type = [...names, held].find(isErrorType) ?? names.find((name): name is string => typeof name === 'string');
  const statuses = [inner, outer].flatMap((fields) => [fields['status'], fields['status_code'], fields['code']]);
  const within = statuses.map(numberOf).find((number) => Number.isInteger(number) && number >= 400 && number < 600);
  const requestId = [outer['request_id'], inner['request_id']].find((id) => typeof id === 'string');
  return { code: classify(type, status ?? within), type, said: saidIn(body, held, inner, outer), requestId };
}

/** An object has no number, and may throw if it is asked for one. */
function numberOf(value: unknown): number {
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN;
}

function saidIn(body: unknown, held: unknown, inner: Fields, outer: Fields): string | undefined {
  const { detail } = outer;
  const [firstDetail] = Array.isArray(detail) ? (detail as unknown[]) : [detail];
  return [
    held,
    inner['message'],
    inner['detail'],
    outer['message'],
    firstDetail,
    isFields(firstDetail) ? (firstDetail['msg'] ?? firstDetail['message']) : undefined,
    body,
  ].find(isSaid);
}

function isSaid(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
