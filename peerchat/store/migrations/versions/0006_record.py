"""a case's own copies of its evidence, and legal holds

Revision: 0006; follows: 0005; made: 2026-11-23 16:40:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('case_evidence',
    sa.Column('event', sa.String(), nullable=False),
    sa.Column('alert', sa.String(), nullable=False),
    sa.Column('message', sa.String(), nullable=False),
    sa.Column('sender', sa.String(), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('risk', sa.Integer(), nullable=False),
    sa.Column('labels', sa.JSON(), nullable=False),
    sa.Column('policy_version', sa.String(), nullable=True),
    sa.Column('text', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['alert'], ['alert.id'], ),
    sa.ForeignKeyConstraint(['event'], ['alert_event.id'], ),
    sa.PrimaryKeyConstraint('event')
    )
    op.create_index(op.f('ix_case_evidence_alert'), 'case_evidence', ['alert'], unique=False)
    op.create_table('case_hold',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('alert', sa.String(), nullable=False),
    sa.Column('by', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('reason', sa.LargeBinary(), nullable=False),
    sa.Column('lifted_by', sa.String(), nullable=True),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lifted_reason', sa.LargeBinary(), nullable=True),
    sa.ForeignKeyConstraint(['alert'], ['alert.id'], ),
    sa.ForeignKeyConstraint(['by'], ['member.id'], ),
    sa.ForeignKeyConstraint(['lifted_by'], ['member.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_case_hold_alert'), 'case_hold', ['alert'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_case_hold_alert'), table_name='case_hold')
    op.drop_table('case_hold')
    op.drop_index(op.f('ix_case_evidence_alert'), table_name='case_evidence')
    op.drop_table('case_evidence')
