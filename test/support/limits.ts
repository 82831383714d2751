/** The limits as they are where nothing is set. */
import { readSettings } from '../../src/settings/settings.ts';

export const defaultLimits = readSettings({}).limits;
