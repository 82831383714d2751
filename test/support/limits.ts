/** The limits as they are where nothing is set. */
import { readSettings } from '../../src/settings.ts';

export const defaultLimits = readSettings({}).limits;
