import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { GENERATION_SEPARATOR, VECTOR_BUILDS_INDEX } from '../contract';

/** What a build of a generation asks of the domain, by the paths that it uses. */
export function loadStatements(arn: string, indexNames: readonly string[]): PolicyStatement[] {
  const generations = indexNames.map((name) => `${arn}/${name}${GENERATION_SEPARATOR}*`);
  const asked = indexNames.flatMap((name) => ['_cluster/health', '_plugins/_knn/warmup'].map((api) => `${arn}/${api}/${name}${GENERATION_SEPARATOR}*`));
  const records = [`${arn}/${VECTOR_BUILDS_INDEX}`, `${arn}/${VECTOR_BUILDS_INDEX}/*`];
  return [
    new PolicyStatement({ actions: ['es:ESHttpGet', 'es:ESHttpPost', 'es:ESHttpPut'], resources: [...generations, ...records] }),
    // aliases move, and generations go, in one and the same call
    new PolicyStatement({ actions: ['es:ESHttpPost'], resources: [`${arn}/_aliases`] }),
    new PolicyStatement({ actions: ['es:ESHttpGet'], resources: [...asked, `${arn}/_plugins/_knn/stats/circuit_breaker_triggered`] }),
  ];
}
