<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Call\Call;
use Jackfield\Call\Multiplexer;
use Jackfield\Call\Queue;
use Jackfield\Client;
use Jackfield\Exception\TimeoutException;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\CpuTime;
use PHPUnit\Framework\TestCase;

/**
 * Tests the order of waiting calls and of deadlines against plain lists.
 */
final class QueueTest extends TestCase
{
    public function testHeadIsTheFirstWaitingCallAfterAnyRemovals(): void
    {
        mt_srand(1);
        $multiplexer = (new \ReflectionProperty(Client::class, 'multiplexer'))->getValue((new FakeHost())->client());
        $queue = new Queue();
        /** @var list<Call> $model */
        $model = [];
        for ($i = 0; $i < 20_000; $i++) {
            // The queue grows and shrinks in turn.
            if (mt_rand(0, 99) < (intdiv($i, 500) % 2 === 0 ? 60 : 35)) {
                $model[] = $call = self::call($multiplexer, "id$i");
                $queue->add($call);
            } elseif ($model !== []) {
                $at = mt_rand(0, 3) === 0 ? mt_rand(0, count($model) - 1) : 0;
                $queue->remove(array_splice($model, $at, 1)[0]);
            }
            self::assertSame($model[0] ?? null, $queue->head(0));
            self::assertSame(count($model), $queue->count());
            self::assertSame(5 * count($model), $queue->bytes);
        }
    }

    public function testRemovingACallTakesConstantTime(): void
    {
        $multiplexer = (new \ReflectionProperty(Client::class, 'multiplexer'))->getValue((new FakeHost())->client());
        $time = static function (int $calls) use ($multiplexer): float {
            $queue = new Queue();
            $kept = [];
            for ($i = 0; $i < $calls; $i++) {
                $queue->add($kept[] = self::call($multiplexer, "id$i"));
            }
            $started = CpuTime::micros();
            while (($call = $queue->head(0)) !== null) {
                $queue->remove($call);
            }

            return (CpuTime::micros() - $started) / $calls;
        };

        // If the slots of removed calls were visited again, the ratio would be 32.
        $few = min(array_map($time, [2_000, 2_000, 2_000]));
        $many = min(array_map($time, [64_000, 64_000, 64_000]));
        self::assertLessThan(8 * $few, $many);
    }

    public function testCallsExpireInTheOrderOfTheirDeadlines(): void
    {
        $client = (new FakeHost())->silent('m')->client();
        $expired = [];
        $started = hrtime(true);
        foreach ([90, 30, 120, 60, 150, 10, 160, 40] as $ms) {
            $client->callAsync('m', null, $ms / 1e3)->then(
                null,
                static function (\Throwable $failure) use (&$expired, $ms): void {
                    self::assertInstanceOf(TimeoutException::class, $failure);
                    $expired[] = $ms;
                }
            );
        }

        self::assertLessThanOrEqual(0.010, $client->secondsUntilDue());
        while ($client->pending() > 0) {
            $client->tick(1.0);
            $elapsed = (hrtime(true) - $started) / 1e6;
            self::assertGreaterThanOrEqual(max([0, ...$expired]), $elapsed);
        }

        self::assertSame([10, 30, 40, 60, 90, 120, 150, 160], $expired);
    }

    private static function call(Multiplexer $multiplexer, string $id): Call
    {
        return new Call($id, 'm', 'frame', PHP_INT_MAX, false, 0, $multiplexer);
    }
}
