/** Renders what Athena is asked for a backfill or a consistency check. It calls nobody. */
import type { BackfillQuery, BackfillQuestion } from '../../src/contract';
import { backfillQuery } from '../core/backfill/backfill-query';

export const handler = async (question: BackfillQuestion): Promise<BackfillQuery> => ({ query: backfillQuery(question) });
