-- Is there a column of this name, and may it be read?
SELECT t.[Status]
FROM dbo.[Tjeneste] AS t
WHERE 1 = 0;

-- Is there the table?
SELECT count(*) AS n
FROM dbo.[Tjeneste] AS t
WHERE 1 = 0;

-- A scan begins: rows that have no key
SELECT count(*) AS n
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NULL;

-- A scan begins: where looks begin
SELECT max(t.[EndretTid]) AS w
FROM dbo.[Tjeneste] AS t;

-- The same, where the highest time lies ahead of the clock
SELECT max(t.[EndretTid]) AS w
FROM dbo.[Tjeneste] AS t
WHERE t.[EndretTid] <= :param_1;
-- param_1 = datetime.datetime(2026, 1, 15, 12, 0)

-- A scan's first page
SELECT TOP 501 t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NOT NULL ORDER BY t.[Id];

-- A scan's next page
SELECT TOP 501 t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NOT NULL AND t.[Id] > :param_2 ORDER BY t.[Id];
-- param_2 = UUID('00000000-0000-0000-0000-000000000007')

-- A look by a time
SELECT TOP 501 t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NOT NULL AND t.[EndretTid] >= :param_2 ORDER BY t.[EndretTid], t.[Id];
-- param_2 = datetime.datetime(2026, 1, 15, 12, 0)

-- A look by a rowversion
SELECT TOP 501 t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NOT NULL AND t.[EndretTid] >= :param_2 AND t.[EndretTid] < :param_3 ORDER BY t.[EndretTid], t.[Id];
-- param_2 = b'\x00\x00\x00\x00\x00\x00\x00\x01', param_3 = b'\x00\x00\x00\x00\x00\x00\x00\x02'

-- More rows of one moment than fit a page
SELECT TOP 501 t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] IS NOT NULL AND t.[EndretTid] >= :param_2 AND t.[EndretTid] < :param_3 AND t.[Id] > :param_4 ORDER BY t.[Id];
-- param_2 = datetime.datetime(2026, 1, 15, 12, 0), param_3 = datetime.datetime(2026, 1, 15, 12, 0), param_4 = UUID('00000000-0000-0000-0000-000000000007')

-- The rows read last, at each opening
SELECT t.[Id] AS k0, t.[EndretTid] AS w, t.[Id] AS c0, t.[Status] AS c1, t.[StartDato] AS c2, convert(nvarchar(40), t.[RegistrertTid], 127) AS c3
FROM dbo.[Tjeneste] AS t
WHERE t.[Id] = :param_1 OR t.[Id] = :param_2;
-- param_1 = UUID('00000000-0000-0000-0000-000000000007'), param_2 = UUID('00000000-0000-0000-0000-000000000008')

-- A key of three columns, no watermark: the first page
SELECT TOP 501 t.kommune AS k0, t.nr AS k1, t.linje AS k2, NULL AS w, t.tilstand AS c0
FROM kpr.opphold AS t
WHERE t.kommune IS NOT NULL ORDER BY t.kommune, t.nr, t.linje;

-- A key of three columns, no watermark: the next page
SELECT TOP 501 t.kommune AS k0, t.nr AS k1, t.linje AS k2, NULL AS w, t.tilstand AS c0
FROM kpr.opphold AS t
WHERE t.kommune IS NOT NULL AND t.kommune >= :param_2 AND (t.kommune > :param_3 OR t.kommune = :param_4 AND t.nr > :param_5 OR t.kommune = :param_6 AND t.nr = :param_7 AND t.linje > :param_8) ORDER BY t.kommune, t.nr, t.linje;
-- param_2 = '0301', param_3 = '0301', param_4 = '0301', param_5 = Decimal('5'), param_6 = '0301', param_7 = Decimal('5'), param_8 = 2

-- Before a look by a rowversion
SELECT MIN_ACTIVE_ROWVERSION();
