/**
 * The smallest real brain: will the flight that now leaves the gate in Chicago arrive late?
 *
 * What the model sees is declared here; which version of it answers is released later (`thalos-brain models put`).
 */
import { App, type AppProps, Stack } from 'aws-cdk-lib';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import {
  Accelerator, Brain, BrainEnvironment, ContainerImage, EdgeStrategy, EntityKey, Feature, FeatureGroup, Model, ModelRuntime, Similarity,
  VectorField, VectorIndex,
} from 'thalos-brain';
import { FLIGHT_DIMENSION, MODEL, NATIONAL } from './flights';

/** Digest of Triton's image in the account's own registry: the README says how it gets there. The embedded brain needs neither. */
const TRITON_DIGEST = `sha256:${'0'.repeat(64)}`;

/** Assumed where fewer than five flights are known: what held for the whole country from January to April 2001. */
const share = { defaultValue: NATIONAL.lateShare };
const delay = { defaultValue: NATIONAL.meanDelay };

const airportTraffic = FeatureGroup.define('airport_traffic', {
  owner: 'flight-operations',
  description: 'How punctual an airport was in the last hours and days, written every hour from flights that have arrived',
  entityKeys: [EntityKey.string('airport')],
  features: [
    // Required: an airport that nobody ever heard of is an error, not a guess.
    Feature.int32('departures_3h', { required: true, description: 'Flights from here whose result became known in the last 3 hours' }),
    Feature.float32('late_share_3h', { ...share, description: 'Share of them that arrived 15 minutes late or more' }),
    Feature.float32('mean_delay_3h', { ...delay, description: 'Mean of their arrival delays, minutes, each within -60 and 180' }),
    Feature.float32('late_share_24h', { ...share, description: 'The share over 24 hours' }),
    Feature.float32('late_share_7d', { ...share, description: 'The share over 7 days' }),
    Feature.float32('inbound_late_share_3h', { ...share, description: 'Share of the flights to here that arrived late in the last 3 hours' }),
    Feature.float32('inbound_mean_delay_3h', { ...delay, description: 'Mean of their arrival delays, minutes' }),
  ],
});

const routeHistory = FeatureGroup.define('route_history', {
  owner: 'flight-operations',
  description: 'How punctual a route was over four weeks, written every morning',
  entityKeys: [EntityKey.string('origin'), EntityKey.string('destination')],
  features: [
    Feature.int32('flights_28d', { defaultValue: 0, description: 'Flights on this route in the last 28 days; a route without a row had none' }),
    Feature.float32('late_share_28d', { ...share, description: 'Share of them that arrived 15 minutes late or more' }),
    Feature.float32('mean_delay_28d', { ...delay, description: 'Mean of their arrival delays, minutes, each within -60 and 180' }),
  ],
});

const flights = VectorIndex.define('flights', {
  description: 'Past flights out of Chicago by hour, weekday, place and season: the nearest are the same flight on other days',
  dimension: FLIGHT_DIMENSION,
  size: { vectors: 100_000 },
  similarity: Similarity.L2,
  fields: [
    VectorField.boolean('late'),
    VectorField.float('delay'),
    VectorField.keyword('origin'),
    VectorField.keyword('destination'),
    VectorField.keyword('departed'),
  ],
});

/** The app, without having synthesized it. */
export function createApp(props: AppProps = {}): App {
  const app = new App(props);
  const stack = new Stack(app, 'Quickstart', {
    // The region decides the three zones; the account is the deployer's.
    env: { region: 'us-east-1' },
    description: 'thalos-brain quickstart: will my flight arrive late?',
  });

  new Brain(stack, 'Brain', {
    environment: BrainEnvironment.dev(),
    models: [Model.declare(MODEL, { owner: 'flight-operations', description: 'Probability that a flight arrives 15 minutes late or more' })],
    featureGroups: [airportTraffic, routeHistory],
    vectorIndexes: [flights],
    cluster: { accelerator: Accelerator.CPU },
    runtime: ModelRuntime.triton({ image: ContainerImage.fromEcr(Repository.fromRepositoryName(stack, 'Triton', 'tritonserver'), TRITON_DIGEST) }),
    edge: EdgeStrategy.apiGateway({ jwt: { issuer: 'https://login.example.com', audience: MODEL, scopes: ['brain/infer'] } }),
  });
  return app;
}

if (require.main === module) createApp().synth();
