import { script } from '../script.ts';

/** Bars an id for a time. Answers 2 for barred; 1 if it has a log; 0 if it is spent or barred already, and stays so for as long as it was. */
export const BAR = script(`
-- KEYS meta spent
-- ARGV ms
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
return redis.call('SET', KEYS[2], 1, 'PX', ARGV[1], 'NX') and 2 or 0`);
