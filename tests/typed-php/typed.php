<?php

/**
 * Calls every method of generated classes on a host with the plugins `device` and `described`.
 *
 * Arguments: the socket of the host, and the directory of the classes of the namespace Acme\Rpc.
 */

declare(strict_types=1);

use Acme\Rpc\Categories;
use Acme\Rpc\Device;
use Acme\Rpc\Images;
use Acme\Rpc\Orders;
use Acme\Rpc\Secrets;
use Acme\Rpc\Values;
use Jackfield\Bytes;
use Jackfield\Client;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;

[, $socket, $classes] = $argv;
require __DIR__ . '/../../clients/php/autoload.php';
spl_autoload_register(static function (string $class) use ($classes): void {
    $name = str_starts_with($class, 'Acme\Rpc\\') ? substr($class, strlen('Acme\Rpc\\')) : null;
    $name === null || require $classes . '/' . strtr($name, '\\', '/') . '.php';
});

$called = [];
$calls = static function (object $object, string $method) use (&$called): Closure {
    $called[$object::class . "::$method"] = true;

    return $object->$method(...);
};
$is = static function (mixed $expected, mixed $actual): void {
    if ($expected !== $actual) {
        throw new Exception(var_export($actual, true) . ' instead of ' . var_export($expected, true));
    }
};
$thrown = static function (string $class, Closure $call): Throwable {
    try {
        $call();
    } catch (Throwable $thrown) {
        return $thrown instanceof $class ? $thrown : throw $thrown;
    }
    throw new Exception("no $class was thrown");
};

$client = Client::connect("unix://$socket");
$device = new Device($client);

// Enumerations as params, literals in results, members that may be missing.
$update = $calls($device, 'statusUpdate');
$is(['deviceId' => 'd', 'status' => 'online', 'sequence' => 1], $update(deviceId: 'd', status: Device\Status::Online));
$is('online', $update('d', Device\Status::Offline)['previous']);

// A parameter that is null is not sent: the method uses its own default.
$get = $calls($device, 'statusGet');
$is(false, array_key_exists('history', $get('d')));
$is(2, count($get('d', history: true)['history']));
$is(['d'], array_column($calls($device, 'list')()['devices'], 'deviceId'));
$is([], $device->list(status: Device\Status::Busy)['devices']);

// A declared error is an exception of its own and one of the client.
$missing = $thrown(Device\Error404Exception::class, static fn () => $get('x'));
$is([404, 404, true], [$missing->getCode(), Device\Error404Exception::CODE, $missing instanceof RemoteException]);
$late = $calls($device, 'report');
$is(408, $thrown(Device\Error408Exception::class, static fn () => $late('d', withinMs: 1))->getCode());
$thrown(TimeoutException::class, static fn () => $device->with(timeout: 0.02)->report('d', 5_000));

// Integers beyond 64 bits in results and in params, lists with gaps, empty maps.
$orders = new Orders($client, timeout: 10.0);
$most = '18446744073709551615';
$is($most, $calls($orders, 'count')());
$create = $calls($orders, 'create');
$order = $create(
    customerId: $most,
    address: ['street' => 'High Street 1', 'zip' => '12345'],
    payment: ['kind' => 'card', 'number' => '4711'],
    count: 1,
    weight: 2,
    isGift: false,
    attributes: [],
    tags: array_filter(['', 'a', 'b']),
    speed: Orders\Speed::Fast,
);
$is([$most, 'fast', ['a', 'b'], []], [
    $order['customerId'], $order['speed'], $order['tags'], $order['attributes'],
]);
$is(['kind' => 'card', 'number' => '4711'], $order['payment']);
$is(2.0, $order['weight']);
$order = $create(7, ['street' => 's', 'zip' => '123'], ['kind' => 'cash'], 1, 0.5, true, attributes: ['1' => 2, 'x' => 3]);
$is([7, 'slow', [1 => 2, 'x' => 3]], [$order['customerId'], $order['speed'], $order['attributes']]);
$is([7], $calls($orders, 'find')(['id' => '7']));
$is([$most], $orders->find(['id' => $most]));
$is([], $orders->find());

// Other results, and other params than an object.
$is(null, $calls($orders, 'get')(0));
$is(404, $thrown(Orders\Error404Exception::class, static fn () => $orders->get('1'))->getCode());
$is(null, $calls($orders, 'cancel')(1));
$is('fast', $calls($orders, 'wait')(1));
$is(['slow', 'fast'], $calls($orders, 'speeds')());
$is(2, $calls($orders, 'sum')([1, 2, -1]));
$is(0, $orders->sum([]));
$is(['id' => 7], $calls($orders, 'newest')());
$is(null, $calls($orders, 'oldest')());
$is(1.5, $calls($orders, 'multiply')([3, 0.5]));
$is(true, $calls($orders, 'import')(['id' => 1]));
$is(false, $orders->import(new Bytes('x')));
$is(['a', 'b'], $calls(new Categories($client), 'flatten')(name: 'a', children: [['name' => 'b', 'children' => []]]));
$is(['secret' => 1], $calls(new Secrets($client), 'keep')(['secret' => 1]));
$is([1, null], $calls(new Values($client), 'echo')([1, null]));

// Bytes.
$images = new Images($client);
$is("\x00\xFF", $calls($images, 'scan')(new Bytes("\x00\xFF"))->bytes);
$is(2, $calls($images, 'measure')(new Bytes("\x00\xFF")));
$is('x', $calls($images, 'crop')(new Bytes('x'))->bytes);

// Every method of every class was called.
foreach (glob("$classes/*.php") as $file) {
    $class = new ReflectionClass('Acme\Rpc\\' . basename($file, '.php'));
    $is(true, $class->isFinal());
    foreach ($class->getMethods(ReflectionMethod::IS_PUBLIC) as $method) {
        $isOwn = in_array($method->name, ['__construct', 'with'], true);
        $is(true, $isOwn || isset($called["$class->name::$method->name"]) ?: "$class->name::$method->name");
        $is(true, $method->isConstructor() || $method->hasReturnType());
        foreach ($method->getParameters() as $parameter) {
            $is(true, $parameter->hasType());
        }
    }
}
$status = new ReflectionEnum(Device\Status::class);
$is(['string', 4], [(string) $status->getBackingType(), count($status->getCases())]);
$parameters = (new ReflectionMethod(Device::class, 'list'))->getParameters();
$is([true, true, true], array_map(static fn (ReflectionParameter $one): bool => $one->isOptional(), $parameters));

echo count($called), " methods\n";
