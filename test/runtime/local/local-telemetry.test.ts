import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { openLocalTelemetry } from '../../../runtime/local/local-telemetry';
import { CONFIGURATION, NOON, SILENT } from '../core/brain.fixture';
import { observed, start } from '../telemetry/telemetry.fixture';

test('telemetry of the local brain: the tracer, captured requests and statistics', async () => {
  const root = mkdtempSync(join(tmpdir(), 'thalos-local-telemetry-'));
  const data = new DataDirectory(root);
  const { telemetry, recorder, close } = await openLocalTelemetry(
    { ...CONFIGURATION, telemetry: { traces: 0, capture: 1, statistics: 1 } }, data, findNatives(), { now: () => NOON }, SILENT,
  );
  const request = telemetry.begin(start());
  request.served('1', 'stable');
  request.observe(await observed());
  request.end();
  expect(recorder.requests()).toHaveLength(1);
  await close();
  expect(readdirSync(data.capture)).toEqual([expect.stringMatching(/\.parquet$/)]);
  expect(readdirSync(data.statistics('eta', '1'))).toHaveLength(1);
  rmSync(root, { recursive: true });
});
