import { Aws, ArnFormat, Fn, Names, Stack } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnLoggingConfiguration, CfnWebACL, CfnWebACLAssociation } from 'aws-cdk-lib/aws-wafv2';
import { Construct } from 'constructs';
import { EdgeFirewall } from './edge-firewall';
import { INTERNAL_HEADER_PREFIX } from '../contract';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

export interface WebFirewallProps {
  readonly environment: BrainEnvironment;
  readonly logsKey: IKey;
  /** ARN of the REST API's stage. */
  readonly stageArn: string;
  /** @default - as each option says */
  readonly options?: EdgeFirewall;
}

/** What {@link WebFirewall.requestsPerSource} are counted over. */
export const RATE_WINDOW_SECONDS = 300;
const DEFAULT_REQUESTS_PER_SOURCE = 30_000;

/** A body of 10 MB or more: eight digits. API Gateway takes 10 MiB, which nobody can raise. */
const TEN_MEGABYTES_OR_MORE = '^0*[1-9][0-9]{7,}$';

/** Names in the protocol need no escapes, so an escape, `..` or a backslash in a path is somebody looking for another route. */
const ESCAPED_PATH = '%|\\.\\.|\\\\';

/** Paths whose bodies are tensors and prompts. */
const INFER_PATH = '/(infer|generate)$';

/** Rules of the core rule set that read the body, by name and by the label that they leave behind. */
const CORE_BODY_RULES = [
  ['SizeRestrictions_BODY', 'SizeRestrictions_Body'],
  ['CrossSiteScripting_BODY', 'CrossSiteScripting_Body'],
  ['GenericLFI_BODY', 'GenericLFI_Body'],
  ['GenericRFI_BODY', 'GenericRFI_Body'],
  ['EC2MetaDataSSRF_BODY', 'EC2MetaDataSSRF_Body'],
] as const;

type Statement = CfnWebACL.StatementProperty;
type Rule = CfnWebACL.RuleProperty;

/**
 * AWS WAF before the edge's stage: sources that ask too often, known bad addresses and inputs, the core rule set,
 * and bodies that are too large.
 *
 * The core rule set's body rules only count on infer and generate paths: they block above 8 KB, and text tensors and prompts that
 * look like markup. Size is enforced there by the declared length, and by the inference service.
 *
 * A request with a header of the brain's own prefix is refused: API Gateway can overwrite headers that it knows by name, and nobody knows
 * the names that a caller may invent (docs/adr/0008).
 */
export class WebFirewall extends Construct {
  readonly webAcl: CfnWebACL;
  readonly logGroup: LogGroup;
  /** Requests that one address may make in {@link RATE_WINDOW_SECONDS}. */
  readonly requestsPerSource: number;

  constructor(scope: Construct, id: string, props: WebFirewallProps) {
    super(scope, id);
    const limit = props.options?.requestsPerSource ?? DEFAULT_REQUESTS_PER_SOURCE;
    if (!Number.isInteger(limit) || limit < 10 || limit > 2_000_000_000) {
      fail(this, 'FirewallRate', `requestsPerSource must be an integer from 10 to 2000000000 in five minutes, got ${limit}`);
    }
    this.requestsPerSource = limit;

    this.webAcl = new CfnWebACL(this, 'Resource', {
      scope: 'REGIONAL',
      defaultAction: { allow: {} },
      visibilityConfig: visibility('BrainEdge'),
      // The most that WAF reads of a body here; the default of 16 KB would leave the rest unseen.
      associationConfig: { requestBody: { API_GATEWAY: { defaultSizeInspectionLimit: 'KB_64' } } },
      customResponseBodies: {
        TooLarge: {
          contentType: 'APPLICATION_JSON',
          content: JSON.stringify({ error: 'BODY_TOO_LARGE: the edge takes bodies below 10 MB', code: 'BODY_TOO_LARGE' }),
        },
        InternalHeader: {
          contentType: 'APPLICATION_JSON',
          content: JSON.stringify({ error: `INVALID_REQUEST: headers that begin with ${INTERNAL_HEADER_PREFIX} are the brain's own`, code: 'INVALID_REQUEST' }),
        },
      },
      rules: rules(limit).map((each, priority) => ({ ...each, priority })),
    });

    new CfnWebACLAssociation(this, 'Association', { webAclArn: this.webAcl.attrArn, resourceArn: props.stageArn });

    // WAF only writes to groups of this prefix; the stack's UUID lets a retained group stay behind without blocking the next deployment.
    const logGroupName = `aws-waf-logs-${Fn.select(2, Fn.split('/', Aws.STACK_ID))}-${Names.nodeUniqueId(this.node).slice(-8)}`;
    this.logGroup = new LogGroup(this, 'Logs', {
      logGroupName,
      encryptionKey: props.logsKey,
      retention: props.environment.logRetention,
      removalPolicy: props.environment.removalPolicy,
    });
    const logging = new CfnLoggingConfiguration(this, 'Logging', {
      resourceArn: this.webAcl.attrArn,
      // Not the group's own ARN: that ends in `:*`, which WAF refuses.
      logDestinationConfigs: [
        Stack.of(this).formatArn({ service: 'logs', resource: 'log-group', arnFormat: ArnFormat.COLON_RESOURCE_NAME, resourceName: logGroupName }),
      ],
      redactedFields: [{ singleHeader: { Name: 'authorization' } }],
    });
    logging.node.addDependency(this.logGroup);
  }
}

function rules(requestsPerSource: number): Omit<Rule, 'priority'>[] {
  const block = { block: {} };
  return [
    rule('RequestsPerSource', {
      rateBasedStatement: { limit: requestsPerSource, evaluationWindowSec: RATE_WINDOW_SECONDS, aggregateKeyType: 'IP' },
    }, block),
    managed('AWSManagedRulesAmazonIpReputationList'),
    rule('EscapedPath', matches({ uriPath: {} }, ESCAPED_PATH), block),
    rule('InternalHeader', {
      byteMatchStatement: {
        // WAF reads 200 headers and 8 KB of them: more could hide one, and so counts as one.
        fieldToMatch: { headers: { matchPattern: { all: {} }, matchScope: 'KEY', oversizeHandling: 'MATCH' } },
        positionalConstraint: 'STARTS_WITH',
        searchString: INTERNAL_HEADER_PREFIX,
        textTransformations: [{ priority: 0, type: 'LOWERCASE' }],
      },
    }, { block: { customResponse: { responseCode: 400, customResponseBodyKey: 'InternalHeader' } } }),
    rule('BodyTooLarge', matches({ singleHeader: { Name: 'content-length' } }, TEN_MEGABYTES_OR_MORE), {
      block: { customResponse: { responseCode: 413, customResponseBodyKey: 'TooLarge' } },
    }),
    managed('AWSManagedRulesKnownBadInputsRuleSet'),
    managed('AWSManagedRulesCommonRuleSet', CORE_BODY_RULES.map(([name]) => name)),
    rule('CountedBodyOffInferPath', {
      andStatement: {
        statements: [
          { notStatement: { statement: matches({ uriPath: {} }, INFER_PATH) } },
          {
            orStatement: {
              statements: CORE_BODY_RULES.map(([, label]) => ({
                labelMatchStatement: { scope: 'LABEL', key: `awswaf:managed:aws:core-rule-set:${label}` },
              })),
            },
          },
        ],
      },
    }, block),
  ];
}

function rule(name: string, statement: Statement, action: CfnWebACL.RuleActionProperty): Omit<Rule, 'priority'> {
  return { name, statement, action, visibilityConfig: visibility(name) };
}

function managed(name: string, counted: readonly string[] = []): Omit<Rule, 'priority'> {
  return {
    name,
    overrideAction: { none: {} },
    statement: {
      managedRuleGroupStatement: {
        vendorName: 'AWS',
        name,
        ruleActionOverrides: counted.length > 0 ? counted.map((each) => ({ name: each, actionToUse: { count: {} } })) : undefined,
      },
    },
    visibilityConfig: visibility(name),
  };
}

function matches(fieldToMatch: CfnWebACL.FieldToMatchProperty, regexString: string): Statement {
  return { regexMatchStatement: { fieldToMatch, regexString, textTransformations: [{ priority: 0, type: 'NONE' }] } };
}

function visibility(metricName: string): CfnWebACL.VisibilityConfigProperty {
  // Sampled requests show whole headers in the console, tokens too.
  return { metricName, cloudWatchMetricsEnabled: true, sampledRequestsEnabled: false };
}
