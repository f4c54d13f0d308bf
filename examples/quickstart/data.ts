/** From the flights of vega-datasets to feature rows, vectors and labels, each as it was known at its time. */
import { once } from 'node:events';
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { Airport, embed, Flight, LATE_MINUTES, ORIGINS } from './flights';

const SOURCE = join(dirname(require.resolve('vega-datasets')), '..', 'data');
export const FLIGHTS_FILE = join(SOURCE, 'flights-3m.parquet');
const AIRPORTS_FILE = join(SOURCE, 'airports.csv');

/** "Now" of the quickstart: Friday 29 June 2001, 18:00 in Chicago. Nothing after it is known to the brain. */
export const NOW = '2001-06-29 23:00:00';

/** Vectors come from the time before the labels, and the labels that evaluate from the time after those that train; a day lies between, for flights to land. */
export const PERIODS = {
  index: ['2001-04-10', '2001-05-01'],
  train: ['2001-05-02', '2001-06-01'],
  evaluate: ['2001-06-02', NOW],
} as const;

export interface DataSize {
  /** Past flights in the vector index, at most. */
  readonly vectors: number;
  /** Rows to learn from and to be judged on, at most. */
  readonly trainRows: number;
  readonly evaluateRows: number;
}

/** What the quickstart uses: every flight out of Chicago in the periods. */
export const FULL_SIZE: DataSize = { vectors: 50_000, trainRows: 50_000, evaluateRows: 50_000 };

export interface PreparedData {
  readonly files: Readonly<Record<'airportTraffic' | 'routeHistory' | 'vectors' | 'labels', string>>;
  readonly rows: Readonly<Record<'flights' | 'airportTraffic' | 'routeHistory' | 'vectors' | 'labels', number>>;
  readonly airports: ReadonlyMap<string, Airport>;
}

/** A flight whose delay is known. */
export interface PastFlight {
  readonly id: string;
  readonly flight: Flight;
  /** Minutes behind schedule on arrival, kept within -60 and 180, so that one odd record does not outweigh all others. */
  readonly delay: number;
  readonly late: number;
}

/** Hours that each state's standard time is behind UTC. */
const STANDARD_TIME: Record<number, string> = {
  4: 'PR VI',
  5: 'CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV',
  6: 'AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI',
  7: 'AZ CO ID MT NM UT WY',
  8: 'CA NV OR WA',
  9: 'AK',
  10: 'HI',
};
/** Airports whose clocks differ from their state's, or whose state the list lacks. */
const OTHER_CLOCKS: Record<string, number> = { ELP: 7, RAP: 7, PNS: 6, VPS: 6, EVV: 6, TYS: 5, CHA: 5, TRI: 5, MQT: 5 };
/** Without daylight saving time in 2001; elsewhere it began on the first Sunday of April, 2:00 (Uniform Time Act as amended in 1986). */
const NO_DAYLIGHT_SAVING = ['AZ', 'HI', 'PR', 'VI', 'IN'];
const DAYLIGHT_SAVING = "TIMESTAMP '2001-04-01 02:00:00'";
const FROM_CHICAGO = `origin IN (${ORIGINS.map((origin) => `'${origin}'`).join(', ')})`;

/** A database in memory with the tables `flight`, all of vega-datasets' flights, and `airport`. Whoever opens it closes it. */
export async function openFlights(): Promise<DuckDBConnection> {
  const instance = await DuckDBInstance.create(':memory:', { autoinstall_known_extensions: 'false', autoload_known_extensions: 'false' });
  const db = await instance.connect();
  const list = (values: readonly string[]) => values.map((value) => `'${value}'`).join(', ');
  const hours = Object.entries(STANDARD_TIME).map(([offset, states]) => `WHEN state IN (${list(states.split(' '))}) THEN ${offset}`).join(' ');
  const others = Object.entries(OTHER_CLOCKS).map(([iata, offset]) => `WHEN iata = '${iata}' THEN ${offset}`).join(' ');
  await db.run(`
    CREATE TABLE airport AS
    SELECT iata, city, latitude, longitude, CASE ${others} ${hours} END AS behind_utc,
      (state NOT IN (${list(NO_DAYLIGHT_SAVING)}) OR iata = 'EVV') AS saves_daylight
    FROM read_csv(${sql(AIRPORTS_FILE)}, header = true, auto_detect = true)`);
  // `date` is the time at which the flight left the gate, `delay` the minutes by which it arrived late (scripts/flights.py of vega-datasets).
  // A result is known when the flight has arrived. The data lacks the arrival time: this bounds it from above, with 75 minutes for the
  // ground and 420 miles per hour, so that no feature knows a result before the airport did.
  await db.run(`
    CREATE TABLE flight AS
    SELECT 'f' || file_row_number AS id, (file_row_number * 2654435761) % 4294967296 AS draw, origin, destination, distance::INTEGER AS distance,
      delay::INTEGER AS delay, (delay >= ${LATE_MINUTES})::INTEGER AS late, greatest(-60, least(180, delay))::INTEGER AS capped_delay, date AS departed,
      date + to_hours(o.behind_utc - (o.saves_daylight AND date >= ${DAYLIGHT_SAVING})::INTEGER) AS departed_utc,
      departed_utc + to_minutes((75 + distance // 7 + greatest(delay, 0))::INTEGER) AS known_at
    FROM read_parquet(${sql(FLIGHTS_FILE)}, file_row_number = true) JOIN airport o ON o.iata = origin
    WHERE o.behind_utc IS NOT NULL AND distance > 0`);
  return db;
}

/** Writes feature rows, vectors and labels into `dir`. Deterministic: the same rows in the same order every time. */
export async function prepareData(dir: string, size: DataSize = FULL_SIZE): Promise<PreparedData> {
  mkdirSync(dir, { recursive: true });
  const files = {
    airportTraffic: join(dir, 'airport_traffic.parquet'),
    routeHistory: join(dir, 'route_history.parquet'),
    vectors: join(dir, 'flights.jsonl'),
    labels: join(dir, 'labels.parquet'),
  };
  const db = await openFlights();
  try {
    await db.run(`
      CREATE TABLE served AS
      SELECT DISTINCT origin AS airport FROM flight WHERE ${FROM_CHICAGO} UNION SELECT DISTINCT destination FROM flight WHERE ${FROM_CHICAGO}`);
    await writeAirportTraffic(db, files.airportTraffic);
    await writeRouteHistory(db, files.routeHistory);
    await writeLabels(db, files.labels, size);
    const airports = await readAirports(db);
    const past = await readPastFlights(db, airports, draw(PERIODS.index, size.vectors));
    await writeVectors(files.vectors, past);
    const count = async (from: string) => Number((await db.runAndReadAll(`SELECT count(*) FROM ${from}`)).getRows()[0][0]);
    return {
      files,
      airports,
      rows: {
        flights: await count('flight'),
        airportTraffic: await count(sql(files.airportTraffic)),
        routeHistory: await count(sql(files.routeHistory)),
        vectors: past.length,
        labels: await count(sql(files.labels)),
      },
    };
  } finally {
    db.closeSync();
  }
}

/** Flights out of Chicago in a period; a sample hangs on nothing but the rows' places in the source. */
export function draw([from, to]: readonly [string, string], rows: number): string {
  return `SELECT * FROM flight WHERE departed_utc >= TIMESTAMP '${from}' AND departed_utc < TIMESTAMP '${to}' AND ${FROM_CHICAGO} ORDER BY draw LIMIT ${rows}`;
}

/** The flights that `query` selects, oldest first. */
export async function readPastFlights(db: DuckDBConnection, airports: ReadonlyMap<string, Airport>, query: string): Promise<PastFlight[]> {
  const reader = await db.runAndReadAll(`
    SELECT id, origin, destination, distance, epoch_ms(departed)::DOUBLE, capped_delay, late FROM (${query}) ORDER BY departed_utc, id`);
  const airport = (iata: unknown) => airports.get(String(iata))!;
  return reader.getRows().map(([id, origin, destination, distance, departed, delay, late]) => ({
    id: String(id),
    flight: { origin: airport(origin), destination: airport(destination), distance: Number(distance), departed: Number(departed) },
    delay: Number(delay),
    late: Number(late),
  }));
}

export async function readAirports(db: DuckDBConnection): Promise<Map<string, Airport>> {
  const reader = await db.runAndReadAll('SELECT iata, city, latitude, longitude FROM airport ORDER BY iata');
  return new Map(reader.getRows().map(([iata, city, latitude, longitude]) => [
    String(iata), { iata: String(iata), city: String(city), latitude: Number(latitude), longitude: Number(longitude) },
  ]));
}

/**
 * One row per airport and hour. A row of 17:00 counts the flights whose results became known before 17:00; where fewer than
 * five did in a window the share is null, and the feature's declared default stands in.
 */
async function writeAirportTraffic(db: DuckDBConnection, file: string): Promise<void> {
  // seven days of results before the first row that is written
  const first = "TIMESTAMP '2001-04-30 12:00:00'";
  const share = (late: string, n: string, over: string) => `CASE WHEN sum(${n}) OVER ${over} >= 5 THEN sum(${late}) OVER ${over} / sum(${n}) OVER ${over} END`;
  await db.run(`
    COPY (
      WITH result AS (
        SELECT origin AS airport, date_trunc('hour', known_at) + INTERVAL 1 HOUR AS event_time, 1 AS n_out, late AS late_out, capped_delay AS delay_out,
          0 AS n_in, 0 AS late_in, 0 AS delay_in
        FROM flight WHERE known_at >= ${first} - INTERVAL 8 DAY
        UNION ALL
        SELECT destination, date_trunc('hour', known_at) + INTERVAL 1 HOUR, 0, 0, 0, 1, late, capped_delay
        FROM flight WHERE known_at >= ${first} - INTERVAL 8 DAY
      ), hourly AS (
        SELECT airport, event_time, sum(n_out) AS n_out, sum(late_out) AS late_out, sum(delay_out) AS delay_out, sum(n_in) AS n_in, sum(late_in) AS late_in,
          sum(delay_in) AS delay_in
        FROM result SEMI JOIN served USING (airport) GROUP BY 1, 2
      ), grid AS (
        SELECT airport, event_time FROM served, generate_series(${first} - INTERVAL 7 DAY, TIMESTAMP '${NOW}', INTERVAL 1 HOUR) AS hours(event_time)
      ), windows AS (
        SELECT airport, event_time,
          coalesce(sum(n_out) OVER h3, 0)::INTEGER AS departures_3h,
          ${share('late_out', 'n_out', 'h3')} AS late_share_3h,
          ${share('delay_out', 'n_out', 'h3')} AS mean_delay_3h,
          ${share('late_out', 'n_out', 'h24')} AS late_share_24h,
          ${share('late_out', 'n_out', 'd7')} AS late_share_7d,
          ${share('late_in', 'n_in', 'h3')} AS inbound_late_share_3h,
          ${share('delay_in', 'n_in', 'h3')} AS inbound_mean_delay_3h
        FROM grid LEFT JOIN hourly USING (airport, event_time)
        WINDOW h3 AS (PARTITION BY airport ORDER BY event_time ROWS 2 PRECEDING),
          h24 AS (PARTITION BY airport ORDER BY event_time ROWS 23 PRECEDING),
          d7 AS (PARTITION BY airport ORDER BY event_time ROWS 167 PRECEDING)
      )
      SELECT airport, event_time, event_time AS created_time, departures_3h, late_share_3h::FLOAT AS late_share_3h, mean_delay_3h::FLOAT AS mean_delay_3h,
        late_share_24h::FLOAT AS late_share_24h, late_share_7d::FLOAT AS late_share_7d, inbound_late_share_3h::FLOAT AS inbound_late_share_3h,
        inbound_mean_delay_3h::FLOAT AS inbound_mean_delay_3h
      FROM windows WHERE event_time >= ${first} ORDER BY event_time, airport
    ) TO ${sql(file)} (FORMAT parquet)`);
}

/** One row per route and day at 8:00 UTC, over the flights whose results became known in the four weeks before it. */
async function writeRouteHistory(db: DuckDBConnection, file: string): Promise<void> {
  await db.run(`
    COPY (
      SELECT origin, destination, morning AS event_time, morning AS created_time, count(*)::INTEGER AS flights_28d, avg(late)::FLOAT AS late_share_28d,
        (sum(capped_delay) / count(*))::FLOAT AS mean_delay_28d
      FROM flight JOIN generate_series(TIMESTAMP '2001-04-30 08:00:00', TIMESTAMP '${NOW}', INTERVAL 1 DAY) AS mornings(morning)
        ON known_at < morning AND known_at >= morning - INTERVAL 28 DAY
      WHERE ${FROM_CHICAGO}
      GROUP BY ALL ORDER BY event_time, origin, destination
    ) TO ${sql(file)} (FORMAT parquet)`);
}

/** The flights whose lateness the model learns, and those on which it is judged. */
async function writeLabels(db: DuckDBConnection, file: string, size: DataSize): Promise<void> {
  await db.run(`
    COPY (
      SELECT 'train' AS part, * EXCLUDE (draw) FROM (${draw(PERIODS.train, size.trainRows)})
      UNION ALL
      SELECT 'evaluate', * EXCLUDE (draw) FROM (${draw(PERIODS.evaluate, size.evaluateRows)})
      ORDER BY departed_utc, id
    ) TO ${sql(file)} (FORMAT parquet)`);
}

/** One JSON object per line: id, vector, and the fields that the vector index declares. */
async function writeVectors(file: string, flights: readonly PastFlight[]): Promise<void> {
  const out = createWriteStream(file);
  for (const { id, flight, delay, late } of flights) {
    const line = {
      id,
      vector: [...embed(flight)],
      late: late === 1,
      delay,
      origin: flight.origin.iata,
      destination: flight.destination.iata,
      departed: new Date(flight.departed).toISOString().slice(0, 16),
    };
    if (!out.write(`${JSON.stringify(line)}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'finish');
}

/** A string literal of SQL. */
export function sql(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
