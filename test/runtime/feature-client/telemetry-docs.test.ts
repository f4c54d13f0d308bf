import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ingestMetrics } from '../../../runtime/feature-client/ingest-metrics';
import { BRAIN } from '../../support/local-brain';

test('docs/telemetry.md has the table of what writers count', () => {
  const section = readFileSync(join(__dirname, '../../../docs/telemetry.md'), 'utf8').split('### Writers of features')[1].split('###')[0];
  const told = [...section.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map(([, Name, Unit]) => ({ Name, Unit }));
  const line = JSON.parse(ingestMetrics('fleet', BRAIN.featureGroups[0], { rows: 0, late: 0, quarantined: 0, violations: [], eventAgeS: 0 }, 0));
  expect(told).toEqual(line._aws.CloudWatchMetrics[0].Metrics);
});
