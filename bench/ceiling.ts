/**
 * How close the service comes to Node's own servers on one core, and what all that surrounds it costs: CPU of the server's process for one
 * small inference (1×30 FP32), over 8 connections with one request under way on each.
 *
 * The full pipeline reads features from DynamoDB, searches vectors in OpenSearch and asks Triton, all three answering at once from another
 * process, for a caller whose token is verified, with traces, metrics and statistics at their default shares.
 */
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { compared, interleave, ratio } from './interleave';
import { GrpcLoad, HttpLoad } from './load';
import type { Benchmark } from './measure';
import { ENRICHED, grpcRequest, jsonRequest, SMALL } from './requests';
import { LOAD_CORE, pinSelf, ServerProcess } from './server-process';
import type { ServiceSettings } from './servers/service';

const REQUESTS = 1500;
const FULL_REQUESTS = 300;

/** A token that is good for an hour, and what verifies it. */
export async function token(): Promise<{ issuer: ServiceSettings['issuer']; authorization: string }> {
  const [issuer, audience] = ['https://issuer.example', 'bench'];
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  const signed = await new SignJWT({ scope: 'infer', tenant: 'bench' })
    .setProtectedHeader({ alg: 'RS256', kid: 'bench' }).setIssuer(issuer).setAudience(audience).setSubject('bench').setIssuedAt().setExpirationTime('1h').sign(privateKey);
  const jwks = { keys: [{ ...await exportJWK(publicKey), kid: 'bench', alg: 'RS256', use: 'sig' }] };
  return { issuer: { issuer, audience, jwks }, authorization: `Bearer ${signed}` };
}

export const ceiling: Benchmark = async () => {
  pinSelf(LOAD_CORE);
  const { issuer, authorization } = await token();
  const dependencies = await ServerProcess.start('dependencies', {}, LOAD_CORE);
  const raw = await ServerProcess.start('raw-http');
  const raw2 = await ServerProcess.start('raw-http2');
  const service = await ServerProcess.start('service');
  const full = await ServerProcess.start('service', { dependencies: dependencies.ports, stores: true, telemetry: true, issuer });
  const plain = jsonRequest('plain', SMALL);
  const call = grpcRequest('plain', SMALL);
  const loads = {
    raw: await HttpLoad.open(raw.port, plain),
    service: await HttpLoad.open(service.ports.http, plain),
    full: await HttpLoad.open(full.ports.http, jsonRequest('enriched', ENRICHED, { authorization })),
    raw2: await GrpcLoad.open(raw2.port, call),
    serviceGrpc: await GrpcLoad.open(service.ports.grpc, call),
    fullGrpc: await GrpcLoad.open(full.ports.grpc, grpcRequest('enriched', ENRICHED, { authorization })),
  };
  try {
    const costs = await interleave({
      raw: raw.under(loads.raw, REQUESTS),
      service: service.under(loads.service, REQUESTS),
      full: full.under(loads.full, FULL_REQUESTS),
      raw2: raw2.under(loads.raw2, REQUESTS),
      serviceGrpc: service.under(loads.serviceGrpc, REQUESTS),
      fullGrpc: full.under(loads.fullGrpc, FULL_REQUESTS),
    }, { warmUp: 4 });
    return [
      { name: 'ceiling.service', value: ratio(costs.raw, costs.service), op: '>=', goal: 0.6, comparedWith: compared('node:http that echoes, against the service', costs.raw, costs.service) },
      { name: 'ceiling.full', value: ratio(costs.full, costs.service), op: '<=', goal: 10, comparedWith: compared('the full pipeline, against the service alone', costs.full, costs.service) },
      {
        name: 'ceiling.service-grpc',
        value: ratio(costs.serviceGrpc, costs.raw2),
        op: '<=',
        goal: 1.3,
        comparedWith: compared('the service over gRPC, against node:http2 that echoes', costs.serviceGrpc, costs.raw2),
      },
      {
        name: 'ceiling.full-grpc',
        value: ratio(costs.fullGrpc, costs.serviceGrpc),
        op: '<=',
        goal: 10,
        comparedWith: compared('the full pipeline over gRPC, against the service alone', costs.fullGrpc, costs.serviceGrpc),
      },
    ];
  } finally {
    for (const load of Object.values(loads)) load.close();
    await Promise.all([raw, raw2, service, full, dependencies].map((server) => server.stop()));
  }
};
