<?php

/**
 * Compares the PHP client with php-redis and a FastCGI round trip: calls per second and p50.
 *
 * The cases run in interleaved rounds.
 */

declare(strict_types=1);

namespace Jackfield\Bench;

use Jackfield\Client;
use Jackfield\Options;

require __DIR__ . '/../../clients/php/autoload.php';
require __DIR__ . '/FastCgi.php';
require __DIR__ . '/Servers.php';

/** Calls of a case that makes many calls at the same time. */
const CONCURRENT_CALLS = 1_000;

$options = getopt('', ['rounds:', 'calls:', 'markdown']);
$rounds = max(1, (int) ($options['rounds'] ?? 9));
$calls = max(100, (int) ($options['calls'] ?? 5_000));

$servers = new Servers();
$sync = Client::connect($servers->host);
$polling = Client::connect($servers->host, new Options(spin: 0.00005));
$async = Client::connect($servers->host, new Options(timeout: 60.0));
$redis = $servers->redis;
$update = ['deviceId' => 'dev_123', 'status' => 'online'];

// The minimum cost of any client in PHP, either sleeping or polling until the reply arrives: one
// write of a prepared frame, and one read whose bytes are not decoded.
$bare = stream_socket_client($servers->host);
$bareNonblocking = stream_socket_client($servers->host);
$bare !== false && $bareNonblocking !== false || throw new \RuntimeException("cannot connect to {$servers->host}");
stream_set_blocking($bareNonblocking, false);
stream_set_read_buffer($bareNonblocking, 0);
$request = ['id' => str_repeat('0', 36), 'method' => 'system.echo', 'params' => $update];
$payload = json_encode($request, JSON_THROW_ON_ERROR);
$preparedFrame = pack('nCN', 0x0100, 0x01, strlen($payload)) . $payload;

/** @var array<string, callable(): void> $sequential */
$sequential = [
    'redis SET' => static fn () => $redis->set('dev_123', 'online'),
    'redis GET' => static fn () => $redis->get('dev_123'),
    'a bare loop, system.echo' => static function () use ($bare, $preparedFrame): void {
        fwrite($bare, $preparedFrame);
        fread($bare, 4096);
    },
    'a bare loop that never sleeps' => static function () use ($bareNonblocking, $preparedFrame): void {
        fwrite($bareNonblocking, $preparedFrame);
        do {
            $quiet = @stream_socket_recvfrom($bareNonblocking, 1, STREAM_PEEK) === false;
        } while ($quiet);
        fread($bareNonblocking, 4096);
    },
    'call system.echo' => static fn () => $sync->call('system.echo', $update),
    'call device.status.update' => static fn () => $sync->call('device.status.update', $update),
    'call system.echo, spin 50 us' => static fn () => $polling->call('system.echo', $update),
];
if ($servers->fpm !== null) {
    $body = json_encode($update, JSON_THROW_ON_ERROR);
    $fastCgiUpdate = static fn () => json_decode($servers->fpm->post(__DIR__ . '/update.php', $body));
    $sequential['FastCGI to php-fpm'] = $fastCgiUpdate;
}

/** @var array<string, callable(): void> $concurrent */
$concurrent = [
    'redis SET, pipeline of 1,000' => static function () use ($redis): void {
        $pipeline = $redis->multi(\Redis::PIPELINE);
        for ($i = 0; $i < CONCURRENT_CALLS; $i++) {
            $pipeline->set('dev_123', 'online');
        }
        $pipeline->exec();
    },
    'batch of 1,000 system.echo' => static function () use ($async, $update): void {
        $async->batch(array_fill(0, CONCURRENT_CALLS, ['system.echo', $update]));
    },
    '1,000 callAsync, callbacks' => static function () use ($async, $update): void {
        $answered = 0;
        for ($i = 0; $i < CONCURRENT_CALLS; $i++) {
            $async->callAsync('system.echo', $update)->then(static function () use (&$answered): void {
                $answered++;
            });
        }
        $async->run();
        $answered === CONCURRENT_CALLS
            || throw new \RuntimeException("only $answered of " . CONCURRENT_CALLS . ' calls were answered');
    },
];

/** @var array<string, list<array{float, float}>> $results calls/s and median (us), by case */
$results = [];
for ($round = -1; $round < $rounds; $round++) {
    foreach ($sequential + $concurrent as $name => $run) {
        $perRun = isset($concurrent[$name]) ? CONCURRENT_CALLS : 1;
        $measured = measure($run, max(1, intdiv($calls, $perRun)), $perRun);
        // Round -1 is the warm-up.
        if ($round >= 0) {
            $results[$name][] = $measured;
        }
    }
    fwrite(STDERR, sprintf("\rround %d of %d", $round + 1, $rounds));
}
fwrite(STDERR, "\n");

$base = median(array_column($results['redis SET'], 0));
$isMarkdown = isset($options['markdown']);
echo $isMarkdown
    ? "| one PHP process | calls/s | p50 us | x SET |\n|---|---|---|---|\n"
    : sprintf("%-34s %28s %10s %10s\n", 'median of ' . $rounds . ' rounds', 'calls/s', 'p50 us', 'x SET');
foreach ($results as $name => $measurements) {
    $rates = array_column($measurements, 0);
    $perSecond = median($rates);
    $row = [
        $name,
        sprintf('%s (%s to %s)', number_format($perSecond), number_format(min($rates)), number_format(max($rates))),
        isset($sequential[$name]) ? sprintf('%.1f', median(array_column($measurements, 1))) : '',
        sprintf('%.2f', $perSecond / $base),
    ];
    echo $isMarkdown ? '| ' . implode(' | ', $row) . " |\n" : vsprintf("%-34s %28s %10s %10s\n", $row);
}

/**
 * Measures a case.
 *
 * @param callable(): mixed $run
 *
 * @return array{float, float} calls per second, and the median duration of a run in microseconds
 */
function measure(callable $run, int $runs, int $callsPerRun): array
{
    $durations = [];
    $started = hrtime(true);
    for ($i = 0; $i < $runs; $i++) {
        $before = hrtime(true);
        $run();
        $durations[] = hrtime(true) - $before;
    }
    $seconds = (hrtime(true) - $started) / 1e9;

    return [$runs * $callsPerRun / $seconds, median($durations) / 1e3];
}

/** @param list<int|float> $values */
function median(array $values): float
{
    sort($values);
    $half = intdiv(count($values), 2);

    return (float) (count($values) % 2 === 1 ? $values[$half] : ($values[$half - 1] + $values[$half]) / 2);
}
