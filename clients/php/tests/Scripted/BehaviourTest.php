<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\CancelledException;
use Jackfield\Exception\ConnectException;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\TestCase;

/**
 * Runs the behaviour table of tests/scripted-server/scripts, which all clients share.
 */
final class BehaviourTest extends TestCase
{
    private const SCRIPTS = __DIR__ . '/../../../../tests/scripted-server/scripts';
    private const FAILURES = [
        'timeout' => TimeoutException::class,
        'protocol' => ProtocolException::class,
        'connection-lost' => ConnectionLostException::class,
        'connect' => ConnectException::class,
        'pool-full' => PoolFullException::class,
        'cancelled' => CancelledException::class,
    ];

    /**
     * @return iterable<string, array{string, array<string, int>, float}> script, variables, spin
     */
    public static function rows(): iterable
    {
        foreach (glob(self::SCRIPTS . '/*.json') ?: [] as $file) {
            $row = self::read($file);
            $runs = [[]];
            foreach ($row['vary'] ?? [] as $name => $range) {
                $runs = array_map(static fn (int $n): array => [$name => $n], range($range['from'], $range['to']));
            }
            foreach ($runs as $variables) {
                $name = $row['name'] . ($variables === [] ? '' : ' ' . http_build_query($variables));
                yield $name => [$file, $variables, 0.0];
                if (str_starts_with($name, 'sync')) {
                    yield "$name, busy polling" => [$file, $variables, 0.002];
                }
            }
        }
    }

    /**
     * @dataProvider rows
     *
     * @param array<string, int> $variables
     */
    public function testBehavesAsTheRowSpecifies(string $file, array $variables, float $spin): void
    {
        $row = self::read($file);
        $server = $this->playFile($file, $variables);
        $options = $row['client']['options'];
        $client = Client::connect($server->address, new Options(
            timeout: $options['timeout_ms'] / 1000,
            maxConnections: $options['max_connections'] ?? 20,
            spin: $spin,
        ));

        $outcomes = self::perform($client, $row['client']['calls']);

        foreach ($row['client']['outcomes'] as $name => $expected) {
            self::assertOutcome($expected, ...$outcomes[$name], name: $name);
        }

        $client->close();
        $report = $server->finish();
        self::assertSame([], $report['faults']);
        self::assertSeen($row['seen']['requests'] ?? null, count($server->requests()), 'requests');
        self::assertSeen($row['seen']['connections'] ?? null, count($report['connections']), 'connections');
    }

    public function testTheHarnessRejectsWrongOutcomes(): void
    {
        $wrong = [
            [['result' => 1], 2],
            [['result' => null], new ProtocolException('x')],
            [['failure' => 'timeout', 'retryable' => false], new ProtocolException('x')],
            [['failure' => 'connection-lost', 'retryable' => false], new ConnectionLostException('x', false)],
            [['remote' => -32002, 'retryable' => true], RemoteException::from(-32001, 'x', null)],
            [['result' => 1, 'within_ms' => [0, 10]], 1],
        ];
        foreach ($wrong as [$expected, $outcome]) {
            try {
                self::assertOutcome($expected, $outcome, 500, name: 'wrong');
            } catch (\PHPUnit\Framework\AssertionFailedError) {
                continue;
            }
            self::fail('the harness accepted a wrong outcome for ' . json_encode($expected));
        }
    }

    /**
     * Makes the calls and returns for each the result or exception, and its duration in
     * milliseconds.
     *
     * @param list<array<string, mixed>> $calls
     *
     * @return array<string, array{mixed, float}>
     */
    private static function perform(Client $client, array $calls): array
    {
        $outcomes = [];
        $futures = [];
        $awaitAll = static function () use (&$futures, &$outcomes): void {
            foreach ($futures as $name => [$future, $started]) {
                $outcomes[$name] = self::outcome(fn (): mixed => $future->await(), $started);
            }
            $futures = [];
        };
        foreach ($calls as $call) {
            if ($call['alone'] ?? false) {
                $awaitAll();
            }
            $arguments = [
                $call['method'],
                $call['params'],
                isset($call['timeout_ms']) ? $call['timeout_ms'] / 1000 : null,
                $call['idempotent'] ?? false,
            ];
            $started = hrtime(true);
            if ($call['how'] === 'sync') {
                $outcomes[$call['as']] = self::outcome(fn (): mixed => $client->call(...$arguments), $started);
            } else {
                $futures[$call['as']] = [$client->callAsync(...$arguments), $started];
            }
        }

        $awaitAll();

        return $outcomes;
    }

    /** @return array{mixed, float} */
    private static function outcome(callable $call, int $started): array
    {
        try {
            $outcome = $call();
        } catch (JackfieldException $failure) {
            $outcome = $failure;
        }

        return [$outcome, (hrtime(true) - $started) / 1e6];
    }

    /** @param array<string, mixed> $expected */
    private static function assertOutcome(array $expected, mixed $outcome, float $ms, string $name): void
    {
        if (isset($expected['any_of'])) {
            foreach ($expected['any_of'] as $one) {
                try {
                    self::assertOutcome($one, $outcome, $ms, $name);

                    return;
                } catch (\PHPUnit\Framework\ExpectationFailedException) {
                    continue;
                }
            }
            self::fail("call $name: not one of the allowed outcomes");
        }

        $shown = "call $name: " . ($outcome instanceof \Throwable ? $outcome : json_encode($outcome));
        if (array_key_exists('result', $expected)) {
            self::assertSame($expected['result'], $outcome, $shown);
        } elseif (isset($expected['result_digits'])) {
            self::assertSame($expected['result_digits'], array_map(strval(...), $outcome), $shown);
        } else {
            $class = isset($expected['remote']) ? RemoteException::class : self::FAILURES[$expected['failure']];
            self::assertInstanceOf($class, $outcome, $shown);
            self::assertSame($expected['remote'] ?? $outcome->getCode(), $outcome->getCode(), $shown);
            self::assertSame($expected['retryable'], $outcome->isRetryable(), $shown);
        }

        if (isset($expected['within_ms'])) {
            self::assertGreaterThanOrEqual($expected['within_ms'][0], $ms, $shown);
            self::assertLessThanOrEqual($expected['within_ms'][1], $ms, $shown);
        }
    }

    /** @param int|array{at_most: int}|null $expected */
    private static function assertSeen(int|array|null $expected, int $seen, string $what): void
    {
        if (is_int($expected)) {
            self::assertSame($expected, $seen, $what);
        } elseif ($expected !== null) {
            self::assertLessThanOrEqual($expected['at_most'], $seen, $what);
        }
    }

    /** @return array<string, mixed> */
    private static function read(string $file): array
    {
        return json_decode((string) file_get_contents($file), true, 64, JSON_THROW_ON_ERROR);
    }
}
