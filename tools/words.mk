# Which words (STACK=…) a target takes. What it does not take is refused before anything runs: a word that nobody hears
# would have the command work on other hosts than the ones meant. The Makefile, which includes this, has the TARGETS.
WORDS := STACK INVENTORY HOST CLOUD ENGINE DO CLIENT WORKERS EXAMPLES ARGS
on_hosts := plan provision smoke bundle status adapters logs ssh restart reboot upgrade-engine rotate-key
takes_STACK := deploy% preflight preview up refresh down $(on_hosts)
takes_INVENTORY := adopt $(on_hosts)
takes_HOST := adopt $(filter-out smoke adapters rotate-key,$(on_hosts))
takes_CLOUD := deploy-% leftovers
takes_ENGINE := demo
takes_DO := adapters
takes_CLIENT := rotate-key
takes_WORKERS := test test-unit fuzz
takes_EXAMPLES := fuzz
takes_ARGS := %
takes = $(filter $(takes_$(1)),$(2))
taken_by = $(strip $(foreach word,$(WORDS),$(if $(call takes,$(word),$(1)),$(word)=…)))

# A name with _ is meant for the programs' environment (AWS_PROFILE=…). Of what the shell exports, these two say which
# hosts are meant, and only to who works on hosts: HOST is a variable of some shells' own.
typed := $(foreach word,$(.VARIABLES),$(if $(findstring command,$(origin $(word))),$(if $(findstring _,$(word)),,$(word))))
exported := $(foreach word,INVENTORY HOST,$(if $(findstring environment,$(origin $(word))),$(word)))
said_to = $(foreach word,$(typed) $(if $(call takes,STACK,$(1)),$(exported)),$(if $($(word)),$(word)))
unheard_by = $(firstword $(foreach word,$(call said_to,$(1)),$(if $(call takes,$(word),$(1)),,$(word))))
named_stack = $(if $(filter-out file,$(origin STACK)),$(STACK))
has_place = $(or $(named_stack),$(INVENTORY),$(call takes,CLOUD,$(1)))

refuse_no_target = $(if $(filter $(1),$(TARGETS) .venv/.ready),,$(error there is no target $(1); `make` alone lists all))
# With CLOUD alone, nothing may fall back to the local stack: `make down CLOUD=aws` would leave the cloud's machines be.
refuse_cloud_alone = $(if $(and $(CLOUD),$(call takes,STACK,$(1))),$(if $(has_place),, \
	$(error $(1): which stack? write STACK=name, e.g. STACK=$(CLOUD)-gpu)))
from_shell = $(if $(findstring environment,$(origin $(1))), (exported by your shell: unset $(1)))
refuse_unheard = $(if $(2),$(error $(1): takes no $(2)=$($(2))$(call from_shell,$(2)); it takes $(call taken_by,$(1))))
refuse_two_places = $(if $(and $(named_stack),$(INVENTORY),$(call takes,STACK,$(1))), \
	$(error $(1): write STACK or INVENTORY, not both))

$(foreach goal,$(filter-out help,$(MAKECMDGOALS)), \
	$(call refuse_no_target,$(goal)) \
	$(call refuse_cloud_alone,$(goal)) \
	$(call refuse_unheard,$(goal),$(call unheard_by,$(goal))) \
	$(call refuse_two_places,$(goal)))
