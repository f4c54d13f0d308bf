/** A question to the brain as its clients ask it, over the Open Inference Protocol, and its answer in words. */
import { type Airport, embed, type Flight, FLIGHT_DIMENSION, flightColumns, MODEL } from './flights';

export interface InferRequest {
  readonly id: string;
  readonly parameters: { readonly explain: boolean };
  readonly inputs: readonly { name: string; datatype: string; shape: number[]; data: (number | string)[] }[];
}

export interface InferResponse {
  readonly model_name: string;
  readonly model_version: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly outputs: readonly { name: string; datatype: string; shape: number[]; data: number[] }[];
}

/** What `explain` puts into the answer's parameter `enrichment`. */
export interface Enrichment {
  readonly features: readonly { tensor: string; rows: readonly (readonly FeatureGroupValues[])[] }[];
  readonly vectors: readonly { tensor: string; index: string; rows: readonly { generation: string; neighbours: readonly Neighbour[] }[] }[];
}

export interface FeatureGroupValues {
  readonly group: string;
  readonly entity: Readonly<Record<string, string>>;
  readonly event_time: string | null;
  readonly values: Readonly<Record<string, number>>;
  readonly defaulted: readonly string[];
}

export interface Neighbour {
  readonly id: string;
  readonly score: number;
  readonly fields: { late: boolean; delay: number; origin: string; destination: string; departed: string };
}

/** Two flights of the evening of `NOW`, later than everything that the brain knows, and how late they were in the end, minutes. */
export function eveningFlights(airports: ReadonlyMap<string, Airport>): { flight: Flight; delay: number }[] {
  const flight = (destination: string, distance: number, hour: number, minute: number): Flight => ({
    origin: airports.get('ORD')!, destination: airports.get(destination)!, distance, departed: Date.UTC(2001, 5, 29, hour, minute),
  });
  return [{ flight: flight('PIT', 412, 18, 38), delay: 36 }, { flight: flight('EWR', 719, 18, 29), delay: -11 }];
}

/** One request for all of the flights: a batch of as many rows. */
export function requestFor(flights: readonly Flight[]): InferRequest {
  const rows = flights.length;
  const round = (values: Iterable<number>) => Array.from(values, (value) => Number(value.toFixed(4)));
  return {
    id: 'quickstart',
    parameters: { explain: true },
    inputs: [
      { name: 'origin', datatype: 'BYTES', shape: [rows], data: flights.map(({ origin }) => origin.iata) },
      { name: 'destination', datatype: 'BYTES', shape: [rows], data: flights.map(({ destination }) => destination.iata) },
      { name: 'flight', datatype: 'FP32', shape: [rows, 3], data: flights.flatMap((flight) => round(flightColumns(flight))) },
      { name: 'flight_vector', datatype: 'FP32', shape: [rows, FLIGHT_DIMENSION], data: flights.flatMap((flight) => round(embed(flight))) },
    ],
  };
}

/** Asks, and fails with the brain's own words where it refuses. */
export async function ask(url: string, request: InferRequest): Promise<InferResponse> {
  const response = await fetch(`${url}/v2/models/${MODEL}/infer`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`the brain answered ${response.status}: ${text}`);
  return JSON.parse(text) as InferResponse;
}

const percent = (share: number) => `${Math.round(100 * share)} %`;
const clock = (milliseconds: number) => new Date(milliseconds).toISOString().slice(11, 16);
const nameOf = ({ city, iata }: Airport) => `${city} (${iata})`;
export const lateness = (delay: number) => (delay > 0 ? `${delay} minutes late` : delay < 0 ? `${-delay} minutes early` : 'on time');

/** The answer for one flight, and what went into it. */
export function inWords(flight: Flight, row: number, answer: InferResponse, baseRate: number): string[] {
  const probability = answer.outputs.find(({ name }) => name === 'late_probability')!.data[row];
  const { features, vectors } = JSON.parse(answer.parameters.enrichment) as Enrichment;
  const { neighbours } = vectors[0].rows[row];
  const late = neighbours.filter(({ fields }) => fields.late).length;
  return [
    `${percent(probability)} chance that the flight that leaves ${nameOf(flight.origin)} at ${clock(flight.departed)} arrives in ${nameOf(flight.destination)} `
    + `15 minutes late or more; ${percent(baseRate)} for any flight out of Chicago`,
    ...features.flatMap(({ tensor, rows }) => rows[row].flatMap(({ entity, event_time: time, values, defaulted }) => [
      `  ${tensor} of ${Object.values(entity).join(' → ')}, as of ${time ?? 'never'}`,
      `    ${Object.entries(values).map(([name, value]) => `${name} ${show(name, value)}${defaulted.includes(name) ? ' (default)' : ''}`).join(', ')}`,
    ])),
    `  ${neighbours.length} most similar past flights, ${late} of them late; the nearest:`,
    ...neighbours.slice(0, 4).map(({ score, fields: { origin, destination, departed, delay } }) =>
      `    ${departed.replace('T', ' ')}  ${origin} → ${destination}  ${lateness(delay).padEnd(17)} score ${score.toFixed(2)}`),
  ];
}

function show(name: string, value: number): string {
  if (name.includes('share')) return percent(value);
  return name.includes('delay') ? `${value.toFixed(1)} min` : String(value);
}

/** A line for a shell that asks the same again. */
export function curlLine(url: string, request: InferRequest): string {
  return `curl -s ${url}/v2/models/${MODEL}/infer -H 'content-type: application/json' -d '${JSON.stringify(request)}'`;
}
