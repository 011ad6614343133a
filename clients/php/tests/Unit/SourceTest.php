<?php

/**
 * The package as it is declared: PHP 8.1, no extension but json, and composer.json beside autoload.php.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Tests\Support\NewerPhp;
use PHPUnit\Framework\TestCase;

final class SourceTest extends TestCase
{
    private const PACKAGE = __DIR__ . '/../..';
    /** Extensions that every PHP has, and the one that is asked for. */
    private const EXTENSIONS = ['Core', 'standard', 'SPL', 'pcre', 'random', 'json'];

    /** @return iterable<string, array{string}> */
    public static function sources(): iterable
    {
        $files = new \RecursiveIteratorIterator(
            new \RecursiveDirectoryIterator(self::PACKAGE . '/src', \FilesystemIterator::SKIP_DOTS)
        );
        foreach ($files as $file) {
            yield substr($file->getPathname(), strlen(self::PACKAGE) + 1) => [$file->getPathname()];
        }
        yield 'autoload.php' => [self::PACKAGE . '/autoload.php'];
    }

    /** @dataProvider sources */
    public function testNothingNewerThanPhp81(string $file): void
    {
        self::assertSame([], NewerPhp::in((string) file_get_contents($file)));
    }

    /** @dataProvider sources */
    public function testNoExtensionButJson(string $file): void
    {
        $foreign = array_filter(
            NewerPhp::functions((string) file_get_contents($file)),
            static fn (string $f): bool => !in_array((new \ReflectionFunction($f))->getExtensionName(), self::EXTENSIONS, true)
        );
        self::assertSame([], $foreign);
    }

    /** @dataProvider sources */
    public function testStrictTypesAndALineThatSaysWhatHappensHere(string $file): void
    {
        self::assertMatchesRegularExpression(
            '#\A<\?php\n\n/\*\*\n \* [A-Z].*?\*/\n\ndeclare\(strict_types=1\);\n#s',
            (string) file_get_contents($file)
        );
    }

    /** @return iterable<string, array{string}> */
    public static function newer(): iterable
    {
        yield 'readonly class' => ['final readonly class A {}'];
        yield 'null alone' => ['function f(): null {}'];
        yield 'false alone' => ['function f(false $a) {}'];
        yield 'true' => ['class A { private true|int $a; }'];
        yield 'disjunctive normal form' => ['function f((A&B)|null $a) {}'];
        yield 'constant in a trait' => ['trait A { const B = 1; }'];
        yield 'typed constant' => ['class A { const int B = 1; }'];
        yield 'constant by name' => ['$a = A::{$b};'];
        yield 'function of 8.2' => ['ini_parse_quantity("1K");'];
        yield 'function of 8.3, in a namespace' => ['namespace X; json_validate("1");'];
        yield 'function of 8.4' => ['\array_find([], fn () => true);'];
        yield 'class of 8.2' => ['new \Random\Randomizer();'];
        yield 'syntax of 8.4' => ['$a = new A()->b();'];
        yield 'property hook' => ['class A { public int $a { get => 1; } }'];
    }

    /** @dataProvider newer */
    public function testTheCheckSeesWhatIsNewer(string $code): void
    {
        self::assertNotSame([], NewerPhp::in("<?php\n$code"));
    }

    public function testComposerAndTheAutoloaderAgree(): void
    {
        $composer = json_decode((string) file_get_contents(self::PACKAGE . '/composer.json'), true, 64, JSON_THROW_ON_ERROR);
        self::assertSame('jackfield/client', $composer['name']);
        self::assertSame(['php' => '>=8.1', 'ext-json' => '*'], $composer['require']);
        self::assertSame(['Jackfield\\' => 'src/'], $composer['autoload']['psr-4']);
        foreach (self::sources() as $name => [$file]) {
            if ($name !== 'autoload.php') {
                $class = 'Jackfield\\' . strtr(substr($name, strlen('src/'), -strlen('.php')), '/', '\\');
                self::assertTrue(class_exists($class) || interface_exists($class) || enum_exists($class), "$file holds $class");
            }
        }
    }
}
