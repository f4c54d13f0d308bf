import { EventField, Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { FoundationPlane } from './foundation-plane';

/** Properties of {@link OperationsPlane}. */
export interface OperationsPlaneProps {
  /** Network, keys and identities. */
  readonly foundation: FoundationPlane;
}

/**
 * What watches the brain: the rule that tells people when somebody disables one of its keys or schedules its deletion. Data is gone with its key,
 * and a cluster whose secrets key is gone cannot be recovered (EKS user guide, "KMS_GRANT_REVOKED"), so the 30 days of the deletion window must not
 * pass unseen. EventBridge sees such calls only in an account where a CloudTrail trail records management events.
 */
export class OperationsPlane extends Construct {
  /** Where alarms and events go. Subscribe people or a pager to it. It stands in the foundation, so that alarms of every plane can tell it. */
  readonly alerts: Topic;

  constructor(scope: Construct, id: string, props: OperationsPlaneProps) {
    super(scope, id);
    const { alerts, keys } = props.foundation;

    this.alerts = alerts.topic;
    alerts.listenTo(this);

    const guard = new Rule(this, 'KeyGuard', {
      description: 'A key of the brain is disabled or about to be deleted',
      eventPattern: {
        source: ['aws.kms'],
        detailType: ['AWS API Call via CloudTrail'],
        detail: {
          eventSource: ['kms.amazonaws.com'],
          eventName: ['DisableKey', 'ScheduleKeyDeletion'],
          resources: { ARN: keys._all().map((key) => key.keyArn) },
        },
      },
    });
    guard.addTarget(new SnsTopic(this.alerts, {
      message: RuleTargetInput.fromText(
        `${EventField.fromPath('$.detail.eventName')} was called on a key of the brain by ${EventField.fromPath('$.detail.userIdentity.arn')}: `
        + 'cancel it with kms cancel-key-deletion and enable-key unless you are removing this brain.',
      ),
    }));
  }
}
