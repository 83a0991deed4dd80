-- Is there a column of this name, and may it be read?
SELECT t.`Status`
FROM dbo.`Tjeneste` AS t
WHERE 1 = 0;

-- Is there the table?
SELECT count(*) AS n
FROM dbo.`Tjeneste` AS t
WHERE 1 = 0;

-- A scan begins: rows that have no key
SELECT count(*) AS n
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` IS NULL;

-- A scan begins: where looks begin
SELECT max(t.`EndretTid`) AS w
FROM dbo.`Tjeneste` AS t;

-- The same, where the highest time lies ahead of the clock
SELECT max(t.`EndretTid`) AS w
FROM dbo.`Tjeneste` AS t
WHERE t.`EndretTid` <= :param_1;
-- param_1 = datetime.datetime(2026, 1, 15, 12, 0)

-- A scan's first page
SELECT t.`Id` AS k0, t.`EndretTid` AS w, t.`Id` AS c0, t.`Status` AS c1, t.`StartDato` AS c2, t.`RegistrertTid` AS c3
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` IS NOT NULL ORDER BY t.`Id`
 LIMIT :param_1;
-- param_1 = 501

-- A scan's next page
SELECT t.`Id` AS k0, t.`EndretTid` AS w, t.`Id` AS c0, t.`Status` AS c1, t.`StartDato` AS c2, t.`RegistrertTid` AS c3
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` IS NOT NULL AND t.`Id` > :param_1 ORDER BY t.`Id`
 LIMIT :param_2;
-- param_1 = UUID('00000000-0000-0000-0000-000000000007'), param_2 = 501

-- A look by a time
SELECT t.`Id` AS k0, t.`EndretTid` AS w, t.`Id` AS c0, t.`Status` AS c1, t.`StartDato` AS c2, t.`RegistrertTid` AS c3
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` IS NOT NULL AND t.`EndretTid` >= :param_1 ORDER BY t.`EndretTid`, t.`Id`
 LIMIT :param_2;
-- param_1 = datetime.datetime(2026, 1, 15, 12, 0), param_2 = 501

-- More rows of one moment than fit a page
SELECT t.`Id` AS k0, t.`EndretTid` AS w, t.`Id` AS c0, t.`Status` AS c1, t.`StartDato` AS c2, t.`RegistrertTid` AS c3
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` IS NOT NULL AND t.`EndretTid` >= :param_1 AND t.`EndretTid` < :param_2 AND t.`Id` > :param_3 ORDER BY t.`Id`
 LIMIT :param_4;
-- param_1 = datetime.datetime(2026, 1, 15, 12, 0), param_2 = datetime.datetime(2026, 1, 15, 12, 0), param_3 = UUID('00000000-0000-0000-0000-000000000007'), param_4 = 501

-- The rows read last, at each opening
SELECT t.`Id` AS k0, t.`EndretTid` AS w, t.`Id` AS c0, t.`Status` AS c1, t.`StartDato` AS c2, t.`RegistrertTid` AS c3
FROM dbo.`Tjeneste` AS t
WHERE t.`Id` = :param_1 OR t.`Id` = :param_2;
-- param_1 = UUID('00000000-0000-0000-0000-000000000007'), param_2 = UUID('00000000-0000-0000-0000-000000000008')

-- A key of three columns, no watermark: the first page
SELECT t.kommune AS k0, t.nr AS k1, t.linje AS k2, NULL AS w, t.tilstand AS c0
FROM kpr.opphold AS t
WHERE t.kommune IS NOT NULL ORDER BY t.kommune, t.nr, t.linje
 LIMIT :param_1;
-- param_1 = 501

-- A key of three columns, no watermark: the next page
SELECT t.kommune AS k0, t.nr AS k1, t.linje AS k2, NULL AS w, t.tilstand AS c0
FROM kpr.opphold AS t
WHERE t.kommune IS NOT NULL AND t.kommune >= :param_1 AND (t.kommune > :param_2 OR t.kommune = :param_3 AND t.nr > :param_4 OR t.kommune = :param_5 AND t.nr = :param_6 AND t.linje > :param_7) ORDER BY t.kommune, t.nr, t.linje
 LIMIT :param_8;
-- param_1 = '0301', param_2 = '0301', param_3 = '0301', param_4 = Decimal('5'), param_5 = '0301', param_6 = Decimal('5'), param_7 = 2, param_8 = 501
