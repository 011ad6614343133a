<?php

/**
 * Calls a second and p50 of the PHP client beside php-redis SET and GET and a FastCGI round trip, in interleaved rounds of one run.
 */

declare(strict_types=1);

namespace Jackfield\Bench;

use Jackfield\Client;
use Jackfield\Options;

require __DIR__ . '/../../clients/php/autoload.php';
require __DIR__ . '/FastCgi.php';
require __DIR__ . '/Peers.php';

const AT_ONCE = 1_000;

$options = getopt('', ['rounds:', 'calls:', 'markdown']);
$rounds = max(1, (int) ($options['rounds'] ?? 9));
$calls = max(100, (int) ($options['calls'] ?? 5_000));

$peers = new Peers();
$sync = Client::connect($peers->host);
$spinning = Client::connect($peers->host, new Options(spin: 0.00005));
$async = Client::connect($peers->host, new Options(timeout: 60.0));
$redis = $peers->redis;
$update = ['deviceId' => 'dev_123', 'status' => 'online'];
// What any client in PHP costs at the least, asleep or awake until the reply comes: a frame that is packed already, written, and one read that is not looked into.
$bare = stream_socket_client($peers->host) ?: throw new \RuntimeException('no host');
$looking = stream_socket_client($peers->host) ?: throw new \RuntimeException('no host');
stream_set_blocking($looking, false);
stream_set_read_buffer($looking, 0);
$ready = json_encode(['id' => str_repeat('0', 36), 'method' => 'system.echo', 'params' => $update], JSON_THROW_ON_ERROR);
$ready = pack('nCN', 0x0100, 0x01, strlen($ready)) . $ready;

/** @var array<string, callable(): void> $oneByOne */
$oneByOne = [
    'redis SET' => static fn () => $redis->set('dev_123', 'online'),
    'redis GET' => static fn () => $redis->get('dev_123'),
    'a bare loop, system.echo' => static function () use ($bare, $ready): void {
        fwrite($bare, $ready);
        fread($bare, 4096);
    },
    'a bare loop that never sleeps' => static function () use ($looking, $ready): void {
        fwrite($looking, $ready);
        do {
            $quiet = @stream_socket_recvfrom($looking, 1, STREAM_PEEK) === false;
        } while ($quiet);
        fread($looking, 4096);
    },
    'call system.echo' => static fn () => $sync->call('system.echo', $update),
    'call device.status.update' => static fn () => $sync->call('device.status.update', $update),
    'call system.echo, spin 50 us' => static fn () => $spinning->call('system.echo', $update),
];
if ($peers->fpm !== null) {
    $body = json_encode($update, JSON_THROW_ON_ERROR);
    $oneByOne['FastCGI to php-fpm'] = static fn () => json_decode($peers->fpm->post(__DIR__ . '/update.php', $body));
}
/** @var array<string, callable(): void> $manyAtOnce */
$manyAtOnce = [
    'redis SET, pipeline of 1,000' => static function () use ($redis): void {
        $pipeline = $redis->multi(\Redis::PIPELINE);
        for ($i = 0; $i < AT_ONCE; $i++) {
            $pipeline->set('dev_123', 'online');
        }
        $pipeline->exec();
    },
    'batch of 1,000 system.echo' => static function () use ($async, $update): void {
        $async->batch(array_fill(0, AT_ONCE, ['system.echo', $update]));
    },
    '1,000 callAsync, callbacks' => static function () use ($async, $update): void {
        $answered = 0;
        for ($i = 0; $i < AT_ONCE; $i++) {
            $async->callAsync('system.echo', $update)->then(static function () use (&$answered): void {
                $answered++;
            });
        }
        $async->run();
        $answered === AT_ONCE || throw new \RuntimeException("$answered of " . AT_ONCE . ' were answered');
    },
];

/** @var array<string, list<array{float, float}>> $seen calls a second, and microseconds of the middle one */
$seen = [];
for ($round = -1; $round < $rounds; $round++) {
    foreach ($oneByOne + $manyAtOnce as $name => $run) {
        $perRun = isset($manyAtOnce[$name]) ? AT_ONCE : 1;
        $figures = measure($run, max(1, intdiv($calls, $perRun)), $perRun);
        // The first round warms up.
        if ($round >= 0) {
            $seen[$name][] = $figures;
        }
    }
    fwrite(STDERR, sprintf("\rround %d of %d", $round + 1, $rounds));
}
fwrite(STDERR, "\n");

$base = median(array_column($seen['redis SET'], 0));
$isMarkdown = isset($options['markdown']);
echo $isMarkdown
    ? "| one PHP process | calls/s | p50 us | x SET |\n|---|---|---|---|\n"
    : sprintf("%-34s %28s %10s %10s\n", 'median of ' . $rounds . ' rounds', 'calls/s', 'p50 us', 'x SET');
foreach ($seen as $name => $figures) {
    $rates = array_column($figures, 0);
    $perSecond = median($rates);
    $row = [
        $name,
        sprintf('%s (%s to %s)', number_format($perSecond), number_format(min($rates)), number_format(max($rates))),
        isset($oneByOne[$name]) ? sprintf('%.1f', median(array_column($figures, 1))) : '',
        sprintf('%.2f', $perSecond / $base),
    ];
    echo $isMarkdown ? '| ' . implode(' | ', $row) . " |\n" : vsprintf("%-34s %28s %10s %10s\n", $row);
}

/**
 * @param callable(): mixed $run
 * @return array{float, float} calls a second, and the microseconds of the middle run
 */
function measure(callable $run, int $runs, int $callsOfARun): array
{
    $took = [];
    $started = hrtime(true);
    for ($i = 0; $i < $runs; $i++) {
        $before = hrtime(true);
        $run();
        $took[] = hrtime(true) - $before;
    }
    $seconds = (hrtime(true) - $started) / 1e9;

    return [$runs * $callsOfARun / $seconds, median($took) / 1e3];
}

/** @param list<int|float> $values */
function median(array $values): float
{
    sort($values);
    $half = intdiv(count($values), 2);

    return (float) (count($values) % 2 === 1 ? $values[$half] : ($values[$half - 1] + $values[$half]) / 2);
}
