"""a site's times, its rota, phones that hold duty, hand-overs, and who is told of alerts about staff

Revision: 0005; follows: 0004; made: 2026-11-23 16:05:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('site', sa.Column('times', sa.JSON(), nullable=False, server_default='{}'))
    op.add_column('alert', sa.Column('apart', sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column('duty_lease', sa.Column('phone_until', sa.DateTime(timezone=True), nullable=True))
    op.create_table('rota_turn',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('site', sa.String(), nullable=False),
    sa.Column('member', sa.String(), nullable=False),
    sa.Column('part', sa.String(), nullable=False),
    sa.Column('days', sa.JSON(), nullable=False),
    sa.Column('begin', sa.String(), nullable=False),
    sa.Column('end', sa.String(), nullable=False),
    sa.Column('first', sa.Date(), nullable=True),
    sa.Column('last', sa.Date(), nullable=True),
    sa.ForeignKeyConstraint(['member'], ['member.id'], ),
    sa.ForeignKeyConstraint(['site'], ['site.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_rota_turn_site'), 'rota_turn', ['site'], unique=False)
    op.create_table('rota_change',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('site', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('first', sa.Date(), nullable=False),
    sa.Column('last', sa.Date(), nullable=False),
    sa.Column('member', sa.String(), nullable=True),
    sa.Column('part', sa.String(), nullable=False),
    sa.Column('begin', sa.String(), nullable=True),
    sa.Column('end', sa.String(), nullable=True),
    sa.ForeignKeyConstraint(['member'], ['member.id'], ),
    sa.ForeignKeyConstraint(['site'], ['site.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_rota_change_site'), 'rota_change', ['site'], unique=False)
    op.create_table('handover',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('site', sa.String(), nullable=False),
    sa.Column('giver', sa.String(), nullable=False),
    sa.Column('taker', sa.String(), nullable=False),
    sa.Column('alert', sa.String(), nullable=True),
    sa.Column('offered_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('until', sa.DateTime(timezone=True), nullable=False),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('answer', sa.String(), nullable=True),
    sa.ForeignKeyConstraint(['alert'], ['alert.id'], ),
    sa.ForeignKeyConstraint(['giver'], ['member.id'], ),
    sa.ForeignKeyConstraint(['site'], ['site.id'], ),
    sa.ForeignKeyConstraint(['taker'], ['member.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('handover_open', 'handover', ['site', 'answered_at'], unique=False)
    op.create_table('independent',
    sa.Column('member', sa.String(), nullable=False),
    sa.Column('site', sa.String(), nullable=False),
    sa.Column('place', sa.Integer(), nullable=False),
    sa.Column('outside', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['member'], ['member.id'], ),
    sa.ForeignKeyConstraint(['site'], ['site.id'], ),
    sa.PrimaryKeyConstraint('member')
    )
    op.create_index(op.f('ix_independent_site'), 'independent', ['site'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_independent_site'), table_name='independent')
    op.drop_table('independent')
    op.drop_index('handover_open', table_name='handover')
    op.drop_table('handover')
    op.drop_index(op.f('ix_rota_change_site'), table_name='rota_change')
    op.drop_table('rota_change')
    op.drop_index(op.f('ix_rota_turn_site'), table_name='rota_turn')
    op.drop_table('rota_turn')
    op.drop_column('duty_lease', 'phone_until')
    op.drop_column('alert', 'apart')
    op.drop_column('site', 'times')
