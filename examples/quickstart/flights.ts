/** The domain of the quickstart: what a flight is, how it becomes a vector, and which numbers the model sees in which order. */

/** An airport as `airports.csv` of vega-datasets lists it. */
export interface Airport {
  readonly iata: string;
  readonly city: string;
  readonly latitude: number;
  readonly longitude: number;
}

/** A flight at the moment at which it leaves the gate. */
export interface Flight {
  readonly origin: Airport;
  readonly destination: Airport;
  /** Great-circle distance in miles. */
  readonly distance: number;
  /** Clock time at the origin, as milliseconds of a clock that stands at the origin and calls its time UTC. */
  readonly departed: number;
}

/** The brain answers for flights that leave Chicago; all of the country's flights go into what it knows about the airports. */
export const ORIGINS = ['ORD', 'MDW'] as const;

export const MODEL = 'arrival-delay';

/** A flight is late when it arrives 15 minutes or more behind schedule: the definition of the US Department of Transportation. */
export const LATE_MINUTES = 15;

/** Share of late flights, and their mean delay in minutes, over the whole United States in January to April 2001: what is assumed where nothing is known. */
export const NATIONAL = { lateShare: 0.216, meanDelay: 6.6 };

/** Features of an airport in the order of the model's columns; windows are hours before the row's event time. */
export const AIRPORT_FEATURES = [
  'departures_3h', 'late_share_3h', 'mean_delay_3h', 'late_share_24h', 'late_share_7d', 'inbound_late_share_3h', 'inbound_mean_delay_3h',
] as const;
export const ROUTE_FEATURES = ['flights_28d', 'late_share_28d', 'mean_delay_28d'] as const;

/** How many of the most similar past flights the model looks at, and what it sees of each. */
export const NEIGHBOURS = 16;
export const NEIGHBOUR_FIELDS = ['late', 'delay', '_score'] as const;

/** The tensor `flight`: hour of the day with its fraction, day of the week (0 is Sunday), miles. */
export function flightColumns(flight: Flight): number[] {
  return [hourOf(flight), new Date(flight.departed).getUTCDay(), flight.distance];
}

/** Dimension of {@link embed}'s vectors. */
export const FLIGHT_DIMENSION = 10;

/**
 * Places a flight among all flights, so that the nearest ones are the same flight on other days: one unit is about a
 * quarter of an hour, or 70 km at either end, or half a year. That holds much: a flight that leaves an hour after
 * its usual time has no neighbours that left on time.
 */
export function embed(flight: Flight): Float32Array {
  const hour = 2 * Math.PI * hourOf(flight) / 24;
  const weekday = 2 * Math.PI * new Date(flight.departed).getUTCDay() / 7;
  return Float32Array.from([
    16 * Math.sin(hour), 16 * Math.cos(hour),
    0.3 * Math.sin(weekday), 0.3 * Math.cos(weekday),
    0.3 * Math.log(flight.distance),
    1.6 * flight.origin.latitude, 1.6 * flight.origin.longitude,
    1.6 * flight.destination.latitude, 1.6 * flight.destination.longitude,
    2 * (flight.departed - Date.UTC(2001, 0, 1)) / (365 * 86_400_000),
  ]);
}

/* eslint-disable no-bitwise -- a generator of 32-bit integers */
/** Same numbers on every machine for the same seed (Mulberry32, Tommy Ettinger, public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
/* eslint-enable no-bitwise */

function hourOf(flight: Flight): number {
  return (flight.departed % 86_400_000) / 3_600_000;
}
