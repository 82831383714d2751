/**
 * Whether two requests say the same: they hold JSON only. A part that both share is not looked into, so comparing a long
 * conversation that an app passes again costs next to nothing. A key whose value is undefined counts as absent.
 */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    const [own, other] = [a as unknown[], b as unknown[]];
    return (
      Array.isArray(a) === Array.isArray(b) &&
      own.length === other.length &&
      own.every((each, at) => sameValue(each, other[at]))
    );
  }
  const [own, other] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return Object.keys({ ...own, ...other }).every((key) => sameValue(own[key], other[key]));
}
