import { script } from '../script.ts';

/** Bars an id for a time, unless it has a log. Answers 1 if it has one, else 0. An id that is spent or barred stays so for as long as it was. */
export const BAR = script(`
-- KEYS meta spent
-- ARGV ms
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('SET', KEYS[2], 1, 'PX', ARGV[1], 'NX')
return 0`);
