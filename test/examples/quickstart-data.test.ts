/** What the quickstart learns from: honest about time, exact, the same every time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { NOW, openFlights, PERIODS, prepareData, type PreparedData, sql } from '../../examples/quickstart/data';
import { embed, seededRandom } from '../../examples/quickstart/flights';
import { score } from '../../examples/quickstart/metrics';
import { NeighbourTree } from '../../examples/quickstart/neighbours';
import { eveningFlights } from '../../examples/quickstart/question';

jest.setTimeout(60_000);

const HOUR = 3_600_000;

describe('the data of the quickstart', () => {
  let folder: string;
  let data: PreparedData;
  let db: DuckDBConnection;
  const rowsOf = async (query: string) => (await db.runAndReadAll(query)).getRowObjectsJson();

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'quickstart-data-'));
    data = await prepareData(folder, { vectors: 500, trainRows: 500, evaluateRows: 500 });
    db = await openFlights();
  });

  afterAll(() => {
    db?.closeSync();
    rmSync(folder, { recursive: true, force: true });
  });

  test('knows the clock of every airport: no flight is lost', () => {
    expect(data.rows.flights).toBe(3_000_000);
  });

  test.each([['ORD', '2001-06-29 23:00:00'], ['MKE', '2001-05-17 12:00:00'], ['DEN', '2001-06-03 04:00:00']])(
    'a feature row of %s at %s is made of flights that had landed by then, and of no other', async (airport, time) => {
      const [row] = await rowsOf(`SELECT * FROM ${sql(data.files.airportTraffic)} WHERE airport = '${airport}' AND event_time = TIMESTAMP '${time}'`);
      const flights = await rowsOf(`
        SELECT origin, distance, delay, epoch_ms(departed_utc)::DOUBLE AS departed FROM flight
        WHERE '${airport}' IN (origin, destination) AND departed_utc BETWEEN TIMESTAMP '${time}' - INTERVAL 9 DAY AND TIMESTAMP '${time}'`);
      const now = Date.parse(`${time.replace(' ', 'T')}Z`);
      const within = (hours: number, outbound: boolean) => flights.filter(({ origin, distance, delay, departed }) => {
        const landed = Number(departed) + (75 + Math.floor(Number(distance) / 7) + Math.max(Number(delay), 0)) * 60_000;
        return (origin === airport) === outbound && landed < now && landed >= now - hours * HOUR;
      });
      const lateShare = (some: typeof flights) => some.filter(({ delay }) => Number(delay) >= 15).length / some.length;
      const meanDelay = (some: typeof flights) => some.reduce((sum, { delay }) => sum + Math.max(-60, Math.min(180, Number(delay))), 0) / some.length;
      const orDefault = (value: number, some: typeof flights) => (some.length >= 5 ? expect.closeTo(value, 5) : null);
      const [out3, out24, out7d, in3] = [within(3, true), within(24, true), within(168, true), within(3, false)];

      expect(row).toMatchObject({
        departures_3h: out3.length,
        late_share_3h: orDefault(lateShare(out3), out3),
        mean_delay_3h: orDefault(meanDelay(out3), out3),
        late_share_24h: orDefault(lateShare(out24), out24),
        late_share_7d: orDefault(lateShare(out7d), out7d),
        inbound_late_share_3h: orDefault(lateShare(in3), in3),
        inbound_mean_delay_3h: orDefault(meanDelay(in3), in3),
      });
      expect(out24.length).toBeGreaterThan(20);
    },
  );

  test('neighbours are from before all labels, and training labels from before those that evaluate', async () => {
    const [known] = await rowsOf(`SELECT max(known_at)::VARCHAR AS last FROM flight WHERE departed_utc < TIMESTAMP '${PERIODS.index[1]}' AND origin IN ('ORD', 'MDW')`);
    const parts = await rowsOf(`SELECT part, min(departed_utc)::VARCHAR AS first, max(departed_utc)::VARCHAR AS last FROM ${sql(data.files.labels)} GROUP BY 1 ORDER BY 1 DESC`);

    expect(parts.map(({ part }) => part)).toEqual(['train', 'evaluate']);
    expect(String(known.last) < String(parts[0].first)).toBe(true);
    expect(String(parts[0].last) < String(parts[1].first)).toBe(true);
    expect(String(parts[1].last) < NOW).toBe(true);
  });

  test('the flights of the question are in the data, after everything that the brain knows', async () => {
    for (const { flight, delay } of eveningFlights(data.airports)) {
      const found = await rowsOf(`
        SELECT delay, distance, departed_utc >= TIMESTAMP '${NOW}' AS later FROM flight
        WHERE origin = 'ORD' AND destination = '${flight.destination.iata}' AND epoch_ms(departed) = ${flight.departed}`);

      expect(found).toEqual([{ delay, distance: flight.distance, later: true }]);
    }
  });

  test('a flight an hour later is farther away than the same flight a week earlier', () => {
    const [{ flight }] = eveningFlights(data.airports);
    const distanceTo = (departed: number) => {
      const [a, b] = [embed(flight), embed({ ...flight, departed })];
      return Math.hypot(...a.map((value, at) => value - b[at]));
    };

    expect(distanceTo(flight.departed - 7 * 24 * HOUR)).toBeLessThan(distanceTo(flight.departed + HOUR));
  });
});

describe('the neighbour tree', () => {
  const random = seededRandom(1);
  // few values, so that many distances tie
  const points = Array.from({ length: 700 }, () => Float32Array.from({ length: 5 }, () => Math.floor(random() * 4)));

  test('finds what a search through all points finds, ties in the order of the points', () => {
    const tree = new NeighbourTree(points);
    for (let i = 0; i < 50; i++) {
      const query = Float32Array.from({ length: 5 }, () => random() * 4);
      const all = points.map((point, index) => ({ index, distance: point.reduce((sum, value, d) => sum + (value - query[d]) ** 2, 0) }));
      const expected = all.sort((a, b) => a.distance - b.distance || a.index - b.index).slice(0, 9);

      expect(tree.nearest(query, 9).indexes).toEqual(expected.map(({ index }) => index));
    }
  });
});

describe('the scores', () => {
  test('are those of the textbook', () => {
    const { logLoss, brier, auc } = score([0.9, 0.2, 0.4, 0.4], [1, 0, 1, 0]);

    expect(logLoss).toBeCloseTo(-(Math.log(0.9) + Math.log(0.8) + Math.log(0.4) + Math.log(0.6)) / 4, 10);
    expect(brier).toBeCloseTo((0.01 + 0.04 + 0.36 + 0.16) / 4, 10);
    // of four pairs three are ordered and one is a tie
    expect(auc).toBeCloseTo(3.5 / 4, 10);
  });
});
