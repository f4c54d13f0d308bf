import { AspectPriority, Aspects, IAspect, Stack } from 'aws-cdk-lib';
import { AlarmBase } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Construct, IConstruct } from 'constructs';

/** Properties of {@link BrainAlerts}. */
export interface BrainAlertsProps {
  /** Encrypts the topic; its policy must let `cloudwatch.amazonaws.com` use it, as that of `BrainKeys.alerts` does. */
  readonly encryptionKey: IKey;
}

/**
 * Where alarms go: one encrypted topic that people subscribe to, and what makes alarms tell it (docs/adr/0064).
 *
 * The topic has a key of its own: EventBridge sends no source with what it publishes to an encrypted topic (SNS developer guide, "Enable
 * compatibility between event sources from AWS services and encrypted topics"), so that its permission on the key cannot be narrowed.
 */
export class BrainAlerts extends Construct {
  /** Subscribe people or a pager to it. */
  readonly topic: Topic;

  private readonly listener: IAspect;

  constructor(scope: Construct, id: string, props: BrainAlertsProps) {
    super(scope, id);
    const { account, partition, region } = Stack.of(this);

    this.topic = new Topic(this, 'Topic', { masterKey: props.encryptionKey, enforceSSL: true });
    // a policy of its own takes the place of the default one, by which every alarm of the account may publish
    this.topic.addToResourcePolicy(new PolicyStatement({
      sid: 'Alarms',
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['sns:Publish'],
      resources: [this.topic.topicArn],
      conditions: {
        StringEquals: { 'aws:SourceAccount': account },
        ArnLike: { 'aws:SourceArn': `arn:${partition}:cloudwatch:${region}:${account}:alarm:*` },
      },
    }));
    this.listener = new Listener(this.topic);
  }

  /**
   * Every alarm below a scope tells the topic when it goes off and when it is over, beside whatever else it does: those that are there, and those that
   * are added later. One that only a composite alarm asks stays silent with `actionsEnabled: false`.
   */
  listenTo(scope: IConstruct): void {
    Aspects.of(scope).add(this.listener, { priority: AspectPriority.MUTATING });
  }
}

class Listener implements IAspect {
  private readonly action: SnsAction;
  /** A second synthesis, or a scope above, must not add the action again. */
  private readonly told = new WeakSet<IConstruct>();

  constructor(topic: Topic) {
    this.action = new SnsAction(topic);
  }

  visit(node: IConstruct): void {
    if (!(node instanceof AlarmBase) || this.told.has(node)) return;
    this.told.add(node);
    node.addAlarmAction(this.action);
    // a pager closes by this what it opened
    node.addOkAction(this.action);
  }
}
