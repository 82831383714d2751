/**
 * Reads the error that upstream reports: in the body of a refusal, in an event of a stream, or in a body that isn't the
 * stream it should be. Gateways write errors in many forms. Knows nothing of what follows from an error, and writes no
 * message.
 */
import { classify, isErrorType, type UpstreamCode } from '../failures.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A longer text is not the name of an error. */
const nameCharsMax = 128;

/** An error that upstream reported. */
export interface ReportedError {
  /** Derived from the error's type where that is known, else from a status. */
  readonly code: UpstreamCode;
  /** Upstream's name of the error. */
  readonly type: string | undefined;
  /** Upstream's sentence. It may quote the request, so it must not be logged unchanged. */
  readonly said: string | undefined;
  readonly requestId: string | undefined;
}

/**
 * Whether a value has the form of an error. A value with a type that is not an error's is none.
 *
 * @param anonymous Whether nothing else says what kind of value it is. Then a `detail` or a `message` makes it an
 *   error.
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

/**
 * Reads an error, in any of its forms, from a value for which `reportsError` is true.
 *
 * @param status The HTTP status of a refusal. Absent if that is 200; then a status within the value is used.
 */
export function readError(value: unknown, status?: number): ReportedError {
  const body = Array.isArray(value) ? (value[0] as unknown) : value;
  const outer = isFields(body) ? body : {};
  const [firstOfErrors] = Array.isArray(outer['errors']) ? (outer['errors'] as unknown[]) : [];
  const held = outer['error'] ?? firstOfErrors;
  const inner = isFields(held) ? held : {};
  const names = [inner['type'], inner['code'], inner['status'], outer['type'], outer['code'], outer['status']].filter(
    (name) => typeof name === 'string' && name !== 'error' && name.length <= nameCharsMax,
  );
  // An error that is only a text may be a type. If the type isn't known, the text is a sentence, which may quote
  // anything.
  const type = [...names, held].find(isErrorType) ?? names.find((name): name is string => typeof name === 'string');
  const statuses = [inner, outer].flatMap((fields) => [fields['status'], fields['status_code'], fields['code']]);
  const within = statuses.map(numberOf).find((number) => Number.isInteger(number) && number >= 400 && number < 600);
  const requestId = [outer['request_id'], inner['request_id']].find((id) => typeof id === 'string');
  return { code: classify(type, status ?? within), type, said: saidIn(body, held, inner, outer), requestId };
}

/** Only numbers and texts are converted: `Number` throws for some objects. */
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
