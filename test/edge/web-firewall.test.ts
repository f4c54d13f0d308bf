import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { edgeIn } from './stand-ins';
import { INTERNAL_HEADER_PREFIX, PUBLIC_ROUTES } from '../../src/contract';
import { EdgeFirewall } from '../../src/edge';

type Json = any; // eslint-disable-line @typescript-eslint/no-explicit-any

function firewallOf(firewall?: EdgeFirewall) {
  const stack = new Stack(new App(), 'Stack');
  edgeIn(stack, { firewall });
  const template = Template.fromStack(stack);
  const acl = Object.values<Json>(template.findResources('AWS::WAFv2::WebACL'))[0].Properties;
  const rule = (name: string): Json => acl.Rules.find((each: Json) => each.Name === name);
  return { template, acl, rule };
}

test('the firewall stands before the stage', () => {
  const { template, acl } = firewallOf();
  const [api] = Object.keys(template.findResources('AWS::ApiGateway::RestApi'));
  const [stage] = Object.keys(template.findResources('AWS::ApiGateway::Stage'));

  expect(acl.Scope).toBe('REGIONAL');
  template.hasResourceProperties('AWS::WAFv2::WebACLAssociation', {
    ResourceArn: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':apigateway:', { Ref: 'AWS::Region' }, '::/restapis/', { Ref: api }, '/stages/', { Ref: stage }]] },
  });
});

test('the managed rules are core, known bad inputs and bad reputation, and none is switched off as a whole', () => {
  const managed = firewallOf().acl.Rules.filter((rule: Json) => rule.Statement.ManagedRuleGroupStatement);

  expect(managed.map(({ Name }: Json) => Name)).toEqual(['AWSManagedRulesAmazonIpReputationList', 'AWSManagedRulesKnownBadInputsRuleSet', 'AWSManagedRulesCommonRuleSet']);
  for (const { OverrideAction } of managed) expect(OverrideAction).toEqual({ None: {} });
});

describe('bodies', () => {
  test('are read up to 64 KB (DEPLOY A4)', () => {
    expect(firewallOf().acl.AssociationConfig).toEqual({ RequestBody: { API_GATEWAY: { DefaultSizeInspectionLimit: 'KB_64' } } });
  });

  test('are counted by the core rules, and blocked for it off the infer paths only', () => {
    const { rule } = firewallOf();
    const counted = rule('AWSManagedRulesCommonRuleSet').Statement.ManagedRuleGroupStatement.RuleActionOverrides;
    const [off, labels] = rule('CountedBodyOffInferPath').Statement.AndStatement.Statements;
    const path = new RegExp(off.NotStatement.Statement.RegexMatchStatement.RegexString);

    expect(counted).toEqual(['SizeRestrictions_BODY', 'CrossSiteScripting_BODY', 'GenericLFI_BODY', 'GenericRFI_BODY', 'EC2MetaDataSSRF_BODY']
      .map((name) => ({ Name: name, ActionToUse: { Count: {} } })));
    expect(labels.OrStatement.Statements.map(({ LabelMatchStatement }: Json) => LabelMatchStatement.Key.split(':').pop().toLowerCase()))
      .toEqual(counted.map(({ Name }: Json) => Name.toLowerCase()));
    expect(rule('CountedBodyOffInferPath').Action).toEqual({ Block: {} });
    for (const { path: route, method } of PUBLIC_ROUTES) {
      if (method === 'POST') expect(`/brain${route}`).toMatch(path);
      else expect(`/brain${route}`).not.toMatch(path);
    }
    expect('/brain/v2/models/infer/ready').not.toMatch(path);
  });

  test('of ten megabytes and more are refused by what they declare', () => {
    const { rule, acl } = firewallOf();
    const { Statement: { RegexMatchStatement: { FieldToMatch, RegexString } }, Action } = rule('BodyTooLarge');

    expect(FieldToMatch).toEqual({ SingleHeader: { Name: 'content-length' } });
    for (const large of ['10000000', '10485760', '99999999', '123456789012', '0010000000']) expect(large).toMatch(new RegExp(RegexString));
    for (const fine of ['0', '8193', '65536', '9999999', '0009999999']) expect(fine).not.toMatch(new RegExp(RegexString));
    expect(Action.Block.CustomResponse).toEqual({ ResponseCode: 413, CustomResponseBodyKey: 'TooLarge' });
    expect(JSON.parse(acl.CustomResponseBodies.TooLarge.Content)).toMatchObject({ code: 'BODY_TOO_LARGE' });
  });
});

test('escapes in paths, which no name in the protocol needs, are refused', () => {
  const expression = new RegExp(firewallOf().rule('EscapedPath').Statement.RegexMatchStatement.RegexString);

  for (const bad of ['/brain/v2/models/%2e%2e%2fmetrics', '/brain/v2/models/../metrics', '/brain/v2/models/a%2Fb', '/brain/v2\\models']) expect(bad).toMatch(expression);
  for (const good of ['/brain/v2/models/price_model-1/versions/12/infer', '/brain/v2']) expect(good).not.toMatch(expression);
});

test('a header of the brain\'s own prefix is refused, whatever its name and case, and so are more headers than the firewall reads', () => {
  const { rule, acl } = firewallOf();
  const { Statement: { ByteMatchStatement }, Action } = rule('InternalHeader');

  expect(ByteMatchStatement).toEqual({
    FieldToMatch: { Headers: { MatchPattern: { All: {} }, MatchScope: 'KEY', OversizeHandling: 'MATCH' } },
    PositionalConstraint: 'STARTS_WITH',
    SearchString: INTERNAL_HEADER_PREFIX,
    TextTransformations: [{ Priority: 0, Type: 'LOWERCASE' }],
  });
  expect(Action.Block.CustomResponse).toEqual({ ResponseCode: 400, CustomResponseBodyKey: 'InternalHeader' });
  expect(JSON.parse(acl.CustomResponseBodies.InternalHeader.Content)).toMatchObject({ code: 'INVALID_REQUEST' });
});

test('one address may ask so often in five minutes', () => {
  expect(firewallOf().rule('RequestsPerSource').Statement.RateBasedStatement).toEqual({ Limit: 30000, EvaluationWindowSec: 300, AggregateKeyType: 'IP' });
  expect(firewallOf({ requestsPerSource: 10 }).rule('RequestsPerSource').Statement.RateBasedStatement.Limit).toBe(10);
});

describe('the log of the firewall', () => {
  test('goes to a group of the prefix that WAF asks for, with our key, by an ARN without :* (DEPLOY A4)', () => {
    const { template } = firewallOf();
    const [logging] = Object.values<Json>(template.findResources('AWS::WAFv2::LoggingConfiguration'));
    const [[groupId, group]] = Object.entries<Json>(template.findResources('AWS::Logs::LogGroup')).filter(([, { Properties }]) => Properties.LogGroupName);
    const name = group.Properties.LogGroupName['Fn::Join'][1];
    const [destination] = logging.Properties.LogDestinationConfigs;

    expect(name[0]).toBe('aws-waf-logs-');
    expect(group.Properties.KmsKeyId).toEqual({ 'Fn::GetAtt': [expect.stringMatching('LogsKey'), 'Arn'] });
    expect(JSON.stringify(destination)).toContain(':log-group:aws-waf-logs-');
    expect(JSON.stringify(destination)).not.toContain(':*');
    expect(logging.DependsOn).toEqual(expect.arrayContaining([groupId]));
  });

  test('holds no token, and neither do sampled requests', () => {
    const { template, acl } = firewallOf();

    template.hasResourceProperties('AWS::WAFv2::LoggingConfiguration', { RedactedFields: Match.arrayWith([{ SingleHeader: { Name: 'authorization' } }]) });
    for (const { VisibilityConfig } of [acl, ...acl.Rules]) expect(VisibilityConfig.SampledRequestsEnabled).toBe(false);
  });
});
