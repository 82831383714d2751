/** The default limits. */
import { readSettings } from '../../src/settings/settings.ts';

export const defaultLimits = readSettings({}).limits;
